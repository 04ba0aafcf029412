"""Which Python an environment gets, decided from values; and how the machine's Pythons are found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from reconciler.artifacts.environments.interpreters import OLDEST, Interpreter, find_interpreters
from reconciler.artifacts.environments.python import admits, choose, specifiers_of
from reconciler.core.problems import Position, Severity


def pythons(*versions: str) -> tuple[Interpreter, ...]:
    """Interpreters of some versions, most preferred first."""
    return tuple(Interpreter(tuple(map(int, text.split("."))), Path(f"/bin/python{text}")) for text in versions)


@pytest.mark.parametrize(
    ("declared", "used", "overridden"),
    [
        ("", "3.12", False),
        ("3.13", "3.13", False),
        ("3.11.4", "3.11", False),
        (">=3.6", "3.12", False),
        (">=3.11,<3.12", "3.11", False),
        ("3.6.2", "3.11", True),
        ("2.7", "3.11", True),
        ("3.10", "3.11", True),
        ("<3.9", "3.11", True),
        ("3.14", "3.13", True),
        ("!=3.12.*,!=3.11.*", "3.13", False),
    ],
)
def test_choice(declared: str, used: str, overridden: bool) -> None:
    """The preferred Python that serves is used; what cannot be had is replaced by the nearest, with a warning."""
    choice = choose(specifiers_of(declared), pythons("3.12.1", "3.13", "3.11.7"), allow_override=True)
    assert (choice.version, choice.problem is not None) == (used, overridden)


def test_override_tells_where_which_and_why() -> None:
    """The warning has the position, the version asked for, the reason and the version used."""
    choice = choose("==3.6.2", pythons("3.11.7"), allow_override=True, position=Position("conda.yml", 4, 5))
    assert choice.problem is not None
    assert choice.problem.severity is Severity.WARNING
    assert str(choice.problem).splitlines()[0] == (
        "conda.yml:4:5: warning: Python 3.6.2 cannot be had: the scoring runtime needs 3.11 or later; 3.11 is used "
        "[python-overridden]"
    )


def test_exact_patch_first() -> None:
    """Of several Pythons of one minor version the exact one is tried first."""
    choice = choose("==3.11.4", pythons("3.11.7", "3.11.4"), allow_override=True)
    assert [item.version for item in choice.interpreters] == [(3, 11, 4), (3, 11, 7)]


@pytest.mark.parametrize("declared", ["", "==3.6.2"])
def test_recorded_version_is_kept(declared: str) -> None:
    """The Python of an earlier lock is used again, also where the declared one was overridden."""
    choice = choose(declared, pythons("3.11", "3.12"), allow_override=True, recorded=(3, 12))
    assert choice.version == "3.12"


def test_no_python() -> None:
    """A machine with nothing but old Pythons is an error that says what is needed."""
    choice = choose("", pythons("3.10"), allow_override=True)
    assert choice.problem is not None
    assert "3.11 or later" in choice.problem.message


def test_bad_version() -> None:
    """What is no version is refused."""
    with pytest.raises(ValueError, match="is not a Python version"):
        specifiers_of("three")


VERSIONS = st.tuples(st.just(3), st.integers(9, 15), st.integers(0, 12))


@given(
    st.lists(VERSIONS, max_size=5),
    st.sampled_from(["", "==", ">=", "<", "!=", "~="]),
    VERSIONS,
    st.booleans(),
)
def test_any_choice(
    versions: list[tuple[int, int, int]], operator: str, wanted: tuple[int, int, int], allow: bool
) -> None:
    """Never a Python too old for the runtime; an admitted one whenever there is one; else a problem, always."""
    machine = [Interpreter(version, Path(f"/p{n}")) for n, version in enumerate(versions)]
    declared = operator and f"{operator}{'.'.join(map(str, wanted))}"
    choice = choose(declared, machine, allow_override=allow)
    usable = {item.minor for item in machine if item.minor >= OLDEST}
    serving = {minor for minor in usable if admits(SpecifierSet(declared), minor)}
    chosen = {item.minor for item in choice.interpreters}
    assert chosen <= (serving or usable)
    assert len(chosen) == bool(serving or (usable and allow))
    assert (choice.problem is None) == bool(serving)


def test_found_on_this_machine(tmp_path: Path) -> None:
    """Executables named python3.N are found in PATH, uv's and pyenv's folders; scripts and old ones are passed over."""
    places = {
        "path/python3.12": b"\x7fELF",
        "path/python3.10": b"\x7fELF",
        "path/python3.13": b"#!/bin/sh\n",
        "home/.pyenv/versions/3.14.1/bin/python3.14": b"\x7fELF",
        "home/.local/share/uv/python/cpython-3.15.0-linux/bin/python3.15": b"\x7fELF",
        "mine/python3.11": b"\x7fELF",
    }
    for name, data in places.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    environ = {"PATH": f"/nonexistent:{tmp_path}/path", "HOME": str(tmp_path / "home")}
    found = find_interpreters(environ, [tmp_path / "mine/python3.11", tmp_path / "nothing"])
    assert [item.short for item in found] == ["3.11", f"3.{sys.version_info[1]}", "3.12", "3.15", "3.14"]
