"""Locks by content, hashes that users pin, and the runtime's code as a tree of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement as Pep508

from reconciler.artifacts.environments.declared import RUNTIME_REQUIREMENTS, SPEED_REQUIREMENTS
from reconciler.artifacts.environments.lock import Lock, LockStore, Wanted, only_pinned_hashes
from reconciler.artifacts.environments.runtime import runtime_path
from reconciler.core.errors import ReconcilerError, TerminalError, UnavailableError

LOCK = """six==1.17.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
tiny==1.0 \\
    --hash=sha256:cc
"""
WANTED = Wanted("f" * 64, ("six",))


def test_pinned_hashes() -> None:
    """A package with pinned hashes keeps only those, the others all."""
    text = only_pinned_hashes(LOCK, ["six==1.17.0 --hash=sha256:bb --hash=sha256:dd", "tiny"])
    assert text == "six==1.17.0 \\\n    --hash=sha256:bb\ntiny==1.0 \\\n    --hash=sha256:cc\n"


def test_pinned_hash_that_nothing_has() -> None:
    """A pinned hash that no file of the index has is an error that names the package."""
    with pytest.raises(TerminalError, match=r"tiny==1\.0"):
        only_pinned_hashes(LOCK, ["tiny --hash=sha256:dd"])


def test_recorded(tmp_path: Path) -> None:
    """A recorded lock is found again for its Python alone, and knows how many packages it has."""
    store = LockStore(tmp_path)
    lock = Lock.of(LOCK, "3.11")
    store.record(WANTED, lock)
    assert store.recorded(WANTED, "3.11") == lock
    assert lock.packages == 2
    assert store.recorded(WANTED, "3.12") is None
    assert store.recorded(Wanted("e" * 64, ("six",)), "3.11") is None
    assert store.recorded_python(WANTED) == (3, 11)
    assert store.recorded_python(Wanted("e" * 64, ())) is None


@pytest.mark.parametrize("damage", ["", "other"])
def test_damaged_lock_is_not_used(tmp_path: Path, damage: str) -> None:
    """A lock whose text no longer has its digest counts as not recorded."""
    store = LockStore(tmp_path)
    lock = Lock.of(LOCK, "3.11")
    store.record(WANTED, lock)
    store.file(lock.digest).write_text(damage)
    assert store.recorded(WANTED, "3.11") is None


def test_floors_are_the_packages_own() -> None:
    """What environments get for the runtime is what reconciler itself is tested with."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    own = {Pep508(line).name: Pep508(line).specifier for line in project["dependencies"]}
    own |= {Pep508(line).name: Pep508(line).specifier for line in project["optional-dependencies"]["speed"]}
    for line in (*RUNTIME_REQUIREMENTS, *SPEED_REQUIREMENTS):
        assert own[Pep508(line).name] == Pep508(line).specifier


def make_package(folder: Path, code: str) -> Path:
    """A package with a runtime in it, and something that is none of it."""
    package = folder / "reconciler"
    (package / "serving" / "__pycache__").mkdir(parents=True)
    (package / "core").mkdir()
    (package / "__init__.py").write_text("")
    (package / "serving" / "__init__.py").write_text(code)
    (package / "serving" / "__pycache__" / "x.pyc").write_bytes(b"")
    (package / "core" / "__init__.py").write_text("")
    return package


def test_runtime_stands_alone(tmp_path: Path) -> None:
    """The tree holds the runtime and nothing else, and can be imported from there."""
    package = make_package(tmp_path / "a", "VERSION = 1\n")
    place = runtime_path(tmp_path / "state", package)
    names = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    assert names == ["reconciler/__init__.py", "reconciler/serving/__init__.py"]
    code = f"import sys; sys.path.insert(0, {str(place)!r}); from reconciler import serving; print(serving.VERSION)"
    assert subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True).stdout == b"1\n"


def test_runtime_versions_live_side_by_side(tmp_path: Path) -> None:
    """Other code is another folder; the one a service was started with stays, and equal code is made once."""
    state = tmp_path / "state"
    first = runtime_path(state, make_package(tmp_path / "a", "VERSION = 1\n"))
    second = runtime_path(state, make_package(tmp_path / "b", "VERSION = 2\n"))
    assert first != second
    assert runtime_path(state, tmp_path / "a" / "reconciler") == first
    assert (first / "reconciler/serving/__init__.py").read_text() == "VERSION = 1\n"
    assert sorted(path.name for path in (state / "runtime").iterdir()) == sorted([first.name, second.name])


def test_runtime_is_repaired(tmp_path: Path) -> None:
    """A file that went missing is put back."""
    package = make_package(tmp_path / "a", "VERSION = 1\n")
    place = runtime_path(tmp_path, package)
    (place / "reconciler/serving/__init__.py").unlink()
    assert (runtime_path(tmp_path, package) / "reconciler/serving/__init__.py").read_text() == "VERSION = 1\n"


def test_runtime_of_this_installation(tmp_path: Path) -> None:
    """The installed package has a runtime."""
    assert (runtime_path(tmp_path) / "reconciler" / "serving" / "__init__.py").is_file()


def test_runtime_failures(tmp_path: Path) -> None:
    """An installation without a runtime and a state directory that cannot be written are told apart."""
    package = make_package(tmp_path / "a", "")
    (package / "serving" / "__init__.py").unlink()
    with pytest.raises(ReconcilerError, match="runtime is missing"):
        runtime_path(tmp_path, package)
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError):
        runtime_path(tmp_path / "file", make_package(tmp_path / "b", ""))
