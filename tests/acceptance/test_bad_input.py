"""Bad input gets a message with its place and a way out, the right exit code, and changes nothing.

Each case damages something and gives the command that meets it; what a person is told is asserted word by word only
where the words are the way out.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import git

from .conftest import SCRIPT, Home, inference, service

Damage = Callable[[Home], None]


@dataclass(frozen=True)
class Case:
    """What is damaged, what meets it, and what it has to say.

    Args:
        says: Patterns, all of which have to be found in what is printed.
        place: The pattern of the position.
    """

    damage: Damage
    code: int
    says: tuple[str, ...]
    place: str = ""
    command: tuple[str, ...] = ("apply",)


def files(**named: str | bytes) -> Damage:
    """Writes and commits files; `__` stands for `/`, `_` before the ending for `.`."""
    return lambda home: home.write({name.replace("__", "/").replace("_yaml", ".yaml"): c for name, c in named.items()})


def bomb() -> str:
    """Ten levels of ten aliases: ten billion nodes."""
    levels = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    return "apiVersion: reconciler/v1\nkind: Service\n" + "\n".join(levels) + "\n"


def large(home: Home) -> None:
    """A manifest of 100 MB that is all holes, so that it costs the disk nothing."""
    path = home.repo / "services/large.yaml"
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(b"apiVersion: reconciler/v1\nkind: Service\n")
        file.truncate(100_000_000)
    git(home.repo, "add", ".")
    git(home.repo, "commit", "-q", "-m", "Large")


def many(home: Home) -> None:
    """A tree of 100,000 manifests, made by Git itself from one blob."""
    blob = git(home.repo, "hash-object", "-w", "inference/echo.yaml").strip()
    listed = "".join(f"100644 blob {blob}\tm{n}.yaml\n" for n in range(100_001))
    made = subprocess.run(["git", "mktree"], cwd=home.repo, input=listed, capture_output=True, text=True, check=True)
    folder = git(home.repo, "rev-parse", "HEAD:inference").strip()
    root = f"040000 tree {folder}\tinference\n040000 tree {made.stdout.strip()}\tmany\n"
    top = subprocess.run(["git", "mktree"], cwd=home.repo, input=root, capture_output=True, text=True, check=True)
    done = git(home.repo, "commit-tree", "-m", "Many", top.stdout.strip()).strip()
    git(home.repo, "update-ref", "refs/heads/many", done)


def link_outside(home: Home) -> None:
    """A manifest that is a link to a file of the machine."""
    (home.repo / "services").mkdir()
    (home.repo / "services/passwd.yaml").symlink_to("/etc/passwd")
    home.write({})


def no_repo(home: Home) -> None:
    """A repo whose objects are gone."""
    for path in sorted((home.repo / ".git/objects").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def model(**spec: object) -> str:
    """A model's manifest."""
    return json.dumps({"apiVersion": "reconciler/v1", "kind": "Model", "metadata": {"name": "ridge"}, "spec": spec})


def damaged_state(name: str, content: bytes) -> Damage:
    """A file of the state directory that is not what it should be."""

    def damage(home: Home) -> None:
        home.write({"services/one.yaml": service("one")})
        (home.state).mkdir(mode=0o700, exist_ok=True)
        (home.state / name).write_bytes(content)

    return damage


HINT = r"\n  \S"
OFFLINE: dict[str, Case] = {
    "broken YAML": Case(
        files(services__one_yaml="kind: Service\nspec: [\n"), 11, ("yaml-syntax",), r"one\.yaml:\d+:\d+"
    ),
    "alias bomb": Case(files(services__one_yaml=bomb()), 11, ("yaml-limit", HINT), r"one\.yaml:\d+:\d+"),
    "100 MB file": Case(large, 11, ("yaml-limit", "100000000 bytes", HINT), r"large\.yaml"),
    "100,000 files": Case(many, 11, ("too-many-files", HINT), "many", ("plan", "--ref", "many")),
    "link out of the tree": Case(link_outside, 11, ("symbolic link to an absolute path", HINT), r"passwd\.yaml"),
    "unknown key": Case(
        files(services__one_yaml=service("one", inferrence="echo")),
        11,
        ("unknown-key", "did you mean"),
        r"one\.yaml:1:\d+",
    ),
    "missing entry script": Case(
        files(inference__echo_yaml=inference(entryScript="inference/scor.py"), services__one_yaml=service("one")),
        11,
        ("no-such-file|missing-file", r"inference/score\.py"),
        r"echo\.yaml:1:\d+",
    ),
    "syntax error in the entry script": Case(
        lambda home: home.write({"inference/score.py": SCRIPT + "\ndef no(:\n", "services/one.yaml": service("one")}),
        11,
        ("script-syntax",),
        r"score\.py:8:\d+",
    ),
    "conda file that names what no index has": Case(
        lambda home: home.write(
            {
                "inference/echo.yaml": inference(condaFile="c.yml"),
                "c.yml": "dependencies:\n- python=3.11\n- cudatoolkit=11.3\n",
                "services/one.yaml": service("one"),
            }
        ),
        11,
        ("no-pypi-twin|conda-unsupported", HINT),
        r"c\.yml:3:\d+",
    ),
    "model digest mismatch": Case(
        lambda home: home.write(
            {
                "models/ridge.pkl": b"the bytes",
                "models/ridge.yaml": model(path="models/ridge.pkl", sha256="0" * 64),
                "services/one.yaml": service("one", models=["ridge"]),
            }
        ),
        11,
        ("model-digest-mismatch", "0000000000", HINT),
        r"ridge\.yaml:1:\d+",
    ),
    "unreadable repo": Case(no_repo, 11, ("is damaged", "git fsck", HINT), "repo"),
    "unknown ref": Case(lambda home: None, 11, ("mian", "main"), "", ("plan", "--ref", "mian")),
    "no repo at all": Case(lambda home: None, 11, ("does not exist", HINT), "", ("plan", "--repo", "/nowhere/at/all")),
    "corrupt store": Case(damaged_state("state.db", b"garbage" * 999), 11, ("damaged", "adopted", HINT), r"state\.db"),
    "corrupt identity": Case(damaged_state("identity.json", b"{}"), 11, (HINT,), r"identity\.json"),
    "unknown setting": Case(
        lambda home: home.settings.write_text("rails:\n  maxDeletePrecent: 5\n") and None,
        11,
        ("unknown-key", "maxDeletePercent"),
        r"settings\.yaml:2:\d+",
    ),
}
LONG: dict[str, Case] = {
    "conda file that cannot be solved": Case(
        lambda home: home.write(
            {
                "inference/echo.yaml": inference(condaFile="c.yml"),
                "c.yml": "dependencies:\n- pip:\n  - anyio==4.0.0\n  - anyio==3.0.0\n",
                "services/one.yaml": service("one"),
            }
        ),
        16,
        ("anyio",),
    ),
}


def changed_nothing(home: Home, case: Case, name: str) -> None:
    """Runs a case and checks all that has to hold of it."""
    case.damage(home)
    record, target = rows(home), home.target()
    done = home.run(*case.command)
    told = done.stdout + done.stderr
    assert done.returncode == case.code, told
    assert "Traceback" not in told
    assert re.search(case.place, told), told
    for pattern in case.says:
        assert re.search(pattern, told), (pattern, told)
    assert len(told) < 10_000, f"{name}: {len(told)} characters"
    assert (rows(home), home.target()) == (record, target)


def rows(home: Home) -> object:
    """What the store holds of services; the file's own bytes where it is no database."""
    path = home.state / "state.db"
    if path.exists() and not path.read_bytes().startswith(b"SQLite"):
        return path.read_bytes()
    return {table: found for table, found in home.record().items() if found}


# To make a hundred thousand files takes longer than to refuse them.
SLOW = {"100,000 files"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in SLOW else name for name in OFFLINE]
)
def test_bad_input_is_told_and_changes_nothing(home: Home, name: str) -> None:
    """Message with place and way out, exit code, no traceback; target and record are as they were."""
    changed_nothing(home, OFFLINE[name], name)


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_bad_input_that_shows_when_building(home: Home, name: str) -> None:
    """What only the package index can tell is told likewise; nothing is half-done at the target."""
    case = LONG[name]
    case.damage(home)
    done = home.run(*case.command)
    told = done.stdout + done.stderr
    assert done.returncode == case.code, told
    assert "Traceback" not in told
    assert all(re.search(pattern, told) for pattern in case.says), told
    assert list((home.state / "services").rglob("service.json")) == []


@pytest.mark.long
def test_a_port_in_use_is_told_with_its_holder_and_nothing_stays(home: Home) -> None:
    """The service that wants a port somebody has is not started; the one that runs is not touched."""
    home.write({"services/one.yaml": service("one")})
    home.ok("apply")
    before = home.target()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        home.write({"services/two.yaml": service("two", deployment={"port": port})})
        done = home.run("apply")
        assert done.returncode == 16, done.stdout
        assert str(port) in done.stdout
        assert str(os.getpid()) in done.stdout, done.stdout
        assert {k: v for k, v in home.target().items() if "/one/" in k} == {
            k: v for k, v in before.items() if "/one/" in k
        }
    # Freed, it is taken.
    assert home.run("apply").returncode == 0


def test_one_broken_file_among_200_is_told_with_all_others_planned(home: Home) -> None:
    """All problems at once with their places; what is whole is planned, and nothing is deleted for it."""
    wanted = {f"services/s{n:03}.yaml": service(f"s{n:03}") for n in range(200)}
    wanted["services/s007.yaml"] = "kind: Service\nspec: [\n"
    wanted["services/s100.yaml"] = service("s100", inferrence="echo")
    home.write(wanted)
    plan = home.json("plan")
    assert sorted(p["file"] for p in plan["problems"]) == ["services/s007.yaml", "services/s100.yaml"]
    assert all(p["line"] and p["column"] for p in plan["problems"])
    assert sum(c["action"] == "create" and "process" in c["resource"] for c in plan["changes"]) == 198
    assert not any(c["action"] == "delete" for c in plan["changes"])
    assert Path(home.state / "services").exists() is False or home.target() == {}
