"""The files of a tree that follow from those of an earlier tree are those that a walk finds."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from reconciler.core.contents import Listed
from reconciler.core.errors import InvalidError
from reconciler.source.limits import Limits
from reconciler.source.source import Source

from .conftest import Opener, Repo

FILES = 600


@pytest.fixture
def many(repo: Repo) -> Repo:
    """A repository of more files than are walked each time."""
    repo.commit(
        {f"services/s{n:03}.yaml": f"{n}" for n in range(FILES)}
        | {"models/m.yaml": "m", "README.md": "r", ".ci/x.yaml": "x"}
    )
    return repo


def listed(source: Source) -> tuple[Listed, ...]:
    """The files of the newest commit."""
    return tuple(source.tree().documents())


def _edit(repo: Repo, chance: random.Random) -> None:
    """One change as people make them."""
    folder = repo.folder
    found = sorted(p for p in folder.rglob("*.yaml") if ".git" not in p.parts)
    there = [p for p in found if p.is_symlink() or p.is_file()]
    name = f"{chance.randrange(10**6)}"
    match chance.randrange(10):
        case 0 | 1 | 2:
            chance.choice([p for p in there if not p.is_symlink()]).write_text(name)
        case 3:
            repo.write({f"services/n{name}.yaml": name})
        case 4:
            repo.write({f"new{name}/deep/er/x.yml": name, f"new{name}/no.txt": name})
        case 5:
            chance.choice(there).unlink()
        case 6:
            file = chance.choice(there)
            file.rename(file.with_name(f"r{name}.yaml"))
        case 7:
            repo.write({f".hidden{name}/x.yaml": name, f"services/.{name}.yaml": name, f"notes{name}.md": name})
        case 8:
            file = chance.choice(there)
            file.unlink()
            (file / "inside").mkdir(parents=True)
            (file / "inside" / "x.yaml").write_text(name)
        case _:
            link = folder / f"link{name}.yaml"
            link.symlink_to(chance.choice(["models/m.yaml", "nowhere", "services", ".hidden"]))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
def test_what_follows_is_what_a_walk_finds(many: Repo, opened: Opener, seed: int) -> None:
    """Files changed, added, moved, removed, folders in place of files, dots and links: with and without a memory."""
    chance = random.Random(seed)
    remembering = opened(many.folder)
    listed(remembering)
    for _ in range(12):
        for _ in range(chance.randrange(1, 4)):
            _edit(many, chance)
        many.commit()
        assert listed(remembering) == listed(opened(many.folder))
        if chance.random() < 0.3:
            for link in many.folder.glob("link*"):
                link.unlink()


def test_files_that_stay_are_the_same_entries(many: Repo, opened: Opener) -> None:
    """Whoever comes after may compare by identity; Git is asked for what differs, not for every file."""
    source = opened(many.folder)
    before = listed(source)
    many.commit({"services/s007.yaml": "other"})
    after = listed(source)
    assert [new.path for new, old in zip(after, before, strict=True) if new is not old] == ["services/s007.yaml"]
    assert source.tree().documents() is source.tree().documents()


def test_limits_hold_for_what_follows(many: Repo, opened: Opener) -> None:
    """A commit that brings too many files, or too deep ones, is refused as if it had been the first."""
    source = opened(many.folder, limits=Limits(files=FILES + 50, depth=5))
    listed(source)
    many.commit({"d/" * 9 + "x.yaml": "1"})
    with pytest.raises(InvalidError, match="deeper than 5"):
        listed(source)
    shutil.rmtree(many.folder / "d")
    many.commit({f"services/more{n}.yaml": "1" for n in range(60)})
    with pytest.raises(InvalidError, match=f"more than {FILES + 50} files"):
        listed(source)


def test_many_files_are_read_at_once(many: Repo, opened: Opener, tmp_path: Path) -> None:
    """In their order, each with its bytes; the size of one that is too large; what is wrong with a link to nowhere."""
    (many.folder / "services/s100.yaml").unlink()
    (many.folder / "services/s100.yaml").symlink_to("nowhere.yaml")
    many.commit({"services/s200.yaml": "x" * 2000})
    tree = opened(many.folder).tree()
    files = tree.documents()
    found = dict(zip([file.path for file in files], tree.read_all(files, 1000), strict=True))
    assert found["services/s000.yaml"] == b"0"
    assert found["services/s599.yaml"] == b"599"
    assert found["services/s200.yaml"] == 2000
    error = found["services/s100.yaml"]
    assert isinstance(error, InvalidError)
    assert "s100.yaml" in error.message


def test_a_file_that_is_not_there_is_an_error_of_its_own(many: Repo, opened: Opener) -> None:
    """In a damaged clone all other files are still read."""
    oid = many.git("rev-parse", "HEAD:services/s300.yaml")
    loose = many.folder / ".git/objects" / oid[:2] / oid[2:]
    loose.unlink()
    tree = opened(many.folder).tree()
    files = tree.documents()
    found = dict(zip([file.path for file in files], tree.read_all(files, 1000), strict=True))
    assert [path for path, data in found.items() if not isinstance(data, bytes)] == ["services/s300.yaml"]
    assert isinstance(found["services/s300.yaml"], InvalidError)
