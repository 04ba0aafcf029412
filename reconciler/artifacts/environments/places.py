"""Where environments, locks and the runtime's code lie below the state directory, and how their records are written.

environments/<name>/venv/              the virtual environment, at its final path
environments/<name>/request.json       what is (to be) built: mark and spec, written first
environments/<name>/environment.json   the completion marker, written last: without it nothing counts as built
environments/<name>/failure.json       why the last build failed
environments/<name>/build.log
environments/.building/<name>          the build lock (flock)
locks/sha256/<digest>.txt              hashed locks by content
locks/recorded/<key>.json              which lock an environment got at its first build
runtime/<digest>/reconciler/…          the scoring runtime's code
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import TargetError, UnavailableError

NAME_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one environment."""

    folder: Path

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.folder / "venv"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.venv / "bin" / "python"

    @property
    def request(self) -> Path:
        """What is to be built."""
        return self.folder / "request.json"

    @property
    def marker(self) -> Path:
        """What was built."""
        return self.folder / "environment.json"

    @property
    def failure(self) -> Path:
        """Why it was not built."""
        return self.folder / "failure.json"

    @property
    def log(self) -> Path:
        """The build log."""
        return self.folder / "build.log"

    @property
    def lock_file(self) -> Path:
        """Locked by whoever builds or deletes it."""
        return self.folder.parent / ".building" / self.folder.name


def environment_path(state_dir: Path, identity: str) -> Path:
    """The folder of the virtual environment with an identity (64 hex digits), whether or not it is built."""
    return place_of(state_dir, f"py-{identity[:NAME_DIGITS]}").venv


def environment_python(state_dir: Path, identity: str) -> Path:
    """The interpreter of the environment with an identity, whether or not it is built."""
    return place_of(state_dir, f"py-{identity[:NAME_DIGITS]}").python


def place_of(state_dir: Path, name: str) -> Place:
    """The folder of an environment by its resource name."""
    return Place(state_dir.absolute() / "environments" / name)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes a record so that a reader or a crash never sees half of it."""
    write_atomic(path, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file as a whole and makes it last, the folder's entry too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: Path) -> dict[str, Any] | None:
    """A record; None if there is none or it cannot be understood."""
    try:
        data: object = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None


def remove_tree(path: Path) -> None:
    """Removes a folder or file; what is gone already is fine."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path)


def disk_error(exc: OSError) -> TargetError:
    """The state directory's failures in words."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnavailableError(
            "the disk that holds the state directory is full, the environment cannot be written",
            hint="free some space, or move the state directory",
        )
    return UnavailableError(f"the state directory cannot be used: {exc.strerror or type(exc).__name__}")
