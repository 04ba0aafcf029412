"""Plans in files: what is in them, who can read them, and which are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.core.change import Action
from reconciler.core.errors import InvalidError
from reconciler.core.secrets import SecretRef, seal
from reconciler.engine.identity import Identity
from reconciler.engine.outcome import Look
from reconciler.engine.saved import load, save
from reconciler.engine.store import Store
from reconciler.targets.memory.world import World
from reconciler.views.plan_schema import schema
from tests.engine.harness import INSTALLATION, House, service
from tests.views.schemas import objects

IDENTITY = Identity(INSTALLATION, b"k" * 32)
CANARY = "canary-hunter2"


@pytest.fixture
def house(store: Store, clock: Any) -> House:
    """Two services, one of which is to change and has a secret."""
    made = House(store, clock, {"east": World()})
    made.want(service("a"), service("b")).go()
    secret = seal(IDENTITY.key, CANARY, SecretRef("env", "KEY"))
    return made.want(service("a", image="two", secrets={"key": secret}), service("b"))


def saved(house: House, path: Path, identity: Identity = IDENTITY) -> Look:
    """A look whose plan is saved."""
    look = house.reconciler.look(holds=False)
    save(path, look, identity, origin="here", follows="main")
    return look


def test_a_saved_plan_comes_back(house: House, tmp_path: Path) -> None:
    """What it does, where it is from, and the ref it follows."""
    look = saved(house, tmp_path / "p.json")
    found = load(tmp_path / "p.json", IDENTITY)
    assert found.reviewed.digest == look.plan.digest
    assert found.reviewed.actions == {change.id: change.digest for change in look.plan.effective()}
    assert (found.sha, found.ref, found.origin, found.follows) == (look.plan.revision.sha, "main", "here", "main")
    assert [change["action"] for change in found.document["changes"]] == [Action.UPDATE.value]


def test_the_file_is_as_the_schema_says(house: House, tmp_path: Path) -> None:
    """It is the document of `plan -o json`, with what applying it needs."""
    saved(house, tmp_path / "p.json")
    made = schema()
    for part in objects(made):
        part["additionalProperties"] = False
    jsonschema.Draft202012Validator(made).validate(json.loads((tmp_path / "p.json").read_text()))


def test_nobody_else_reads_it_and_it_holds_no_secret(house: House, tmp_path: Path) -> None:
    """Its mode is 0600 whatever the umask, also in place of a file that all could read; nor fingerprint nor key."""
    path = tmp_path / "p.json"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        saved(house, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert CANARY not in text
    assert seal(IDENTITY.key, CANARY).fingerprint not in text
    assert IDENTITY.key.hex() not in text


def test_the_same_plan_gives_the_same_file(house: House, tmp_path: Path) -> None:
    """Byte for byte: no time, no chance."""
    for name in ("one", "two"):
        saved(house, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("name", ["missing/p.json", "folder", "/proc/nowhere/p.json", "/dev/null"])
def test_where_it_cannot_be_saved(house: House, tmp_path: Path, name: str) -> None:
    """A message with the reason, and nothing is left there; a device is not replaced by a file."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidError, match=r"cannot be saved|is not a file"):
        saved(house, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert Path("/dev/null").is_char_device()


def test_a_link_is_followed_and_stays_one(house: House, tmp_path: Path) -> None:
    """The file it leads to is written."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    saved(house, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "real", IDENTITY)


def _edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return edit


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "is not JSON"),
        (lambda path: path.write_bytes(b"\x00\xff" * 100), "is not JSON"),
        (lambda path: path.write_text("[" * 200_000), "is not JSON"),
        (lambda path: path.write_text("[]"), "is not a saved plan"),
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (_edited(lambda d: d.pop("saved")), "is not a saved plan"),
        (_edited(lambda d: d.update(saved="x")), "is not a saved plan"),
        (_edited(lambda d: d.update(kind="Drift")), "is not a saved plan"),
        (_edited(lambda d: d.update(formatVersion=99)), "another release: its format is 99.1"),
        (_edited(lambda d: d["saved"].update(planVersion=99)), "another release: its format is 1.99"),
        (_edited(lambda d: d["saved"].update(installation="rc-theirs")), "another installation (rc-theirs)"),
        (_edited(lambda d: d["changes"][0].update(reason="looks harmless")), "changed after it was saved"),
        (_edited(lambda d: d["saved"]["actions"].clear()), "changed after it was saved"),
        (_edited(lambda d: d["revision"].update(sha="f" * 40)), "changed after it was saved"),
        (_edited(lambda d: d["saved"].pop("seal")), "changed after it was saved"),
        (_edited(lambda d: d["saved"].update(seal="é")), "changed after it was saved"),
    ],
)
def test_files_that_are_refused(house: House, tmp_path: Path, damage: Callable[[Path], None], told: str) -> None:
    """Each with what is wrong and what to do; none gives a traceback."""
    saved(house, tmp_path / "p.json")
    damage(tmp_path / "p.json")
    with pytest.raises(InvalidError) as caught:
        load(tmp_path / "p.json", IDENTITY)
    assert told in caught.value.message


def test_the_key_seals_it(house: House, tmp_path: Path) -> None:
    """Whoever knows the installation's id alone cannot make a file that is taken."""
    saved(house, tmp_path / "p.json", replace(IDENTITY, key=b"x" * 32))
    with pytest.raises(InvalidError, match="changed after it was saved"):
        load(tmp_path / "p.json", IDENTITY)


def test_only_what_was_reviewed_is_carried_out(house: House, tmp_path: Path) -> None:
    """A service that drifted since is left to another plan; the history has the digest that was reviewed."""
    look = saved(house, tmp_path / "p.json")
    house.worlds["east"].edit("service/b", "/image", "by-hand")
    reviewed = load(tmp_path / "p.json", IDENTITY).reviewed
    outcome = house.go(ignore_holds=True, only=reviewed)
    assert [result.id.name for result in outcome.results] == ["a"]
    assert house.worlds["east"].native("service/b")["image"] == "by-hand"  # type: ignore[index]
    assert house.store.history(1)[0].data["digest"] == look.plan.digest
    assert [change.id.name for change in house.plan().effective()] == ["b"]
