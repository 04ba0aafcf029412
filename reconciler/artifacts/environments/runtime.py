"""The scoring runtime's code as a tree of its own, so that a started service keeps the version it was started with.

The environments hold only what the runtime imports; its code is put on their path from here.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reconciler.artifacts.environments.places import disk_error, remove_tree, write_atomic
from reconciler.core.errors import ReconcilerError

_PACKAGE = Path(__file__).resolve().parents[2]


def runtime_path(state_dir: Path, package: Path = _PACKAGE) -> Path:
    """The folder to put on a service's Python path, `<state>/runtime/<digest>`; made if it is not there.

    It holds `reconciler/__init__.py` and `reconciler/serving/`, nothing else, named by their content.

    Args:
        package: The folder of the package `reconciler` to take them from.

    Raises:
        UnavailableError: The state directory cannot be written.
        ReconcilerError: The package holds no runtime.
    """
    files = dict(_files(package))
    if not any(name.startswith("reconciler/serving/") for name in files):
        raise ReconcilerError("the scoring runtime is missing from this installation", hint="install reconciler again")
    listing = "".join(f"{name}\0{hashlib.sha256(data).hexdigest()}\n" for name, data in sorted(files.items()))
    place = state_dir.absolute() / "runtime" / hashlib.sha256(listing.encode()).hexdigest()[:16]
    try:
        if not place.is_dir():
            _make(place, files)
        for name, data in files.items():
            if _size(place / name) != len(data):
                write_atomic(place / name, data)
    except OSError as exc:
        raise disk_error(exc) from exc
    return place


def _make(place: Path, files: dict[str, bytes]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        for name, data in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        fresh.chmod(0o755)
        try:
            fresh.rename(place)
        except OSError:
            # Another process was first; the content is the same.
            if not place.is_dir():
                raise
    finally:
        remove_tree(fresh)


def _files(package: Path) -> Iterator[tuple[str, bytes]]:
    yield "reconciler/__init__.py", (package / "__init__.py").read_bytes()
    for folder, folders, names in os.walk(package / "serving"):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder) / name
            if path.suffix != ".pyc":
                yield f"reconciler/{path.relative_to(package).as_posix()}", path.read_bytes()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
