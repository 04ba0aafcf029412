"""Which Pythons this machine has: found by looking at the file system, without running any of them.

Looked at, in this order: the operator's list, the Python that runs reconciler, `python3.N` in the folders of PATH, and
the folders in which uv and pyenv keep theirs. Scripts (pyenv's shims) are passed over. The build runs the one it is to
use before relying on it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from reconciler.core.dataclass import dataclass

OLDEST = (3, 11)
"""The scoring runtime's code needs it, and so does starlette 1 (its Requires-Python is >=3.11)."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine.

    Args:
        version: `(3, 11)`, or with the patch number where it is known without running it.
    """

    version: tuple[int, ...]
    path: Path

    @property
    def minor(self) -> tuple[int, int]:
        """`(3, 11)`: what wheels are made for."""
        return (self.version[0], self.version[1])

    @property
    def short(self) -> str:
        """`3.11`."""
        return f"{self.version[0]}.{self.version[1]}"


def find_interpreters(environ: Mapping[str, str], extra: Iterable[Path] = ()) -> tuple[Interpreter, ...]:
    """The usable Pythons, most preferred first, at least `OLDEST`, each file once.

    Args:
        environ: PATH, HOME, PYENV_ROOT, UV_PYTHON_INSTALL_DIR, XDG_DATA_HOME are read from it.
        extra: The operator's own, named `python3.N` or links to something that is.
    """
    found: dict[str, Interpreter] = {}
    for version, path in _candidates(environ, extra):
        if version[:2] >= OLDEST:
            found.setdefault(os.path.realpath(path), Interpreter(version, Path(path)))
    return tuple(found.values())


def _candidates(environ: Mapping[str, str], extra: Iterable[Path]) -> Iterator[tuple[tuple[int, ...], str]]:
    # Texts and not paths: every plan looks through all of PATH.
    for path in map(str, extra):
        if (version := _version_of(path)) and _is_binary(path):
            yield version, path
    yield tuple(sys.version_info[:3]), getattr(sys, "_base_executable", "") or sys.executable
    for folder in environ.get("PATH", "").split(":"):
        if folder:
            yield from _in_folder(folder)
    for root in _homes(environ):
        for name in sorted(_names(root), reverse=True):
            yield from _in_folder(f"{root}/{name}/bin")


def _homes(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME") or "/nonexistent"
    data = environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    yield environ.get("UV_PYTHON_INSTALL_DIR") or f"{data}/uv/python"
    yield (environ.get("PYENV_ROOT") or f"{home}/.pyenv") + "/versions"


def _in_folder(folder: str) -> Iterator[tuple[tuple[int, int], str]]:
    for name in sorted((name for name in _names(folder) if _named(name)), reverse=True):
        path = f"{folder}/{name}"
        version = _version_of(path)
        if version and _is_binary(path):
            yield version, path


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _version_of(path: str) -> tuple[int, int] | None:
    return _named(os.path.basename(path)) or _named(os.path.basename(os.path.realpath(path)))  # noqa: PTH119


def _named(name: str) -> tuple[int, int] | None:
    """The version in `python3.11`; None for any other name."""
    if not name.startswith("python"):
        return None
    major, _, minor = name[6:].partition(".")
    numbers = major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()
    return (int(major), int(minor)) if numbers else None


def _is_binary(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
            return stream.read(2) not in (b"#!", b"")
    except OSError:
        return False
