"""Which Pythons this machine has: found by looking at the file system, without running any of them.

Looked at, in this order: the operator's list, the Python that runs reconciler, `python3.N` in the folders of PATH, and
the folders in which uv and pyenv keep theirs. Scripts (pyenv's shims) are passed over. The build runs the one it is to
use before relying on it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST = (3, 11)
"""The scoring runtime's code needs it, and so does starlette 1 (its Requires-Python is >=3.11)."""

_EXECUTABLE = re.compile(r"python(\d+)\.(\d+)$")


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
    found: dict[Path, Interpreter] = {}
    for interpreter in _candidates(environ, extra):
        real = interpreter.path.resolve()
        if interpreter.minor >= OLDEST:
            found.setdefault(real, interpreter)
    return tuple(found.values())


def _candidates(environ: Mapping[str, str], extra: Iterable[Path]) -> Iterator[Interpreter]:
    for path in extra:
        if (version := _version_of(path)) and _is_binary(path):
            yield Interpreter(version, path)
    own = Path(getattr(sys, "_base_executable", "") or sys.executable)
    yield Interpreter(tuple(sys.version_info[:3]), own)
    for folder in environ.get("PATH", "").split(":"):
        if folder:
            yield from _in_folder(Path(folder))
    for root in _homes(environ):
        for folder in sorted(root.glob("*/bin"), reverse=True):
            yield from _in_folder(folder)


def _homes(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME") or "/nonexistent")
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    yield Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    yield Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"


def _in_folder(folder: Path) -> Iterator[Interpreter]:
    try:
        names = sorted((entry for entry in folder.iterdir() if _EXECUTABLE.match(entry.name)), reverse=True)
    except OSError:
        return
    for path in names:
        version = _version_of(path)
        if version and _is_binary(path):
            yield Interpreter(version, path)


def _version_of(path: Path) -> tuple[int, ...] | None:
    for name in (path.name, path.resolve().name):
        if match := _EXECUTABLE.match(name):
            return (int(match[1]), int(match[2]))
    return None


def _is_binary(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(2) not in (b"#!", b"")
    except OSError:
        return False
