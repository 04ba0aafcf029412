"""The folder of a service: what lies where, and whether its supervisor lives. Used by driver and supervisor alike.

<root>/<service>/
  identity.json      whose it is; written once, before the folder gets its name
  service.json       what the supervisor knows: record, state, events; replaced atomically
  lock               held by the living supervisor (POSIX record lock: the kernel drops it with the process)
  control.sock       commands, one JSON object a line (in a short folder elsewhere if the path is too long)
  service.log[.1-5]  what the workers print
  versions/<id>/code the source tree of a version
"""

# No pathlib: it would cost each supervisor a megabyte.
# ruff: noqa: PTH102, PTH104, PTH105, PTH106, PTH108, PTH116, PTH123, PTH208

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IDENTITY = "identity.json"
STATE = "service.json"
LOCK = "lock"
LOG = "service.log"
VERSIONS = "versions"
CONTROL = "control.sock"

# Environment variable by which processes of a service are known, should they outlive its supervisor.
BELONGS_TO = "RECONCILER_SERVICE_UID"

# sun_path holds 108 bytes on Linux and 104 on macOS, the final NUL included (unix(7)); 24 are kept for the names
# of the workers' sockets.
_LONGEST_FOLDER = 104 - 1 - 24


def read_json(path: str) -> dict[str, Any] | None:
    """A JSON object from a file, or None if there is no file.

    Raises:
        ValueError: It is not a JSON object. OSError: It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read())
    except FileNotFoundError:
        return None
    if not isinstance(data, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return data  # pyright: ignore[reportUnknownVariableType]


def write_json(path: str, data: dict[str, Any], *, durable: bool = False, mode: int = 0o600) -> None:
    """Replaces a file by a JSON object in one step; `durable` waits for the disk."""
    temporary = f"{path}.{os.getpid()}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(fd, "wb") as file:
            file.write(json.dumps(data, separators=(",", ":")).encode())
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        _unlink(temporary)
        raise


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def sockets_folder(folder: str, uid: str) -> str:
    """Where a service's sockets lie: in its folder, or in a private short one of this user if the path is too long.

    Raises:
        PermissionError: The short folder exists and is not ours alone.
    """
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        return folder
    base = f"/tmp/reconciler-{os.getuid()}"  # noqa: S108 - made with mode 0700 and checked below
    short = f"{base}/{uid[:20]}"
    for path in (base, short):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise PermissionError(f"{path} is not a private folder of this user; remove it")
    return short


# struct flock of fcntl(2): its layout differs.
_FLOCK = "hhqqi" if sys.platform == "linux" else "qqihh"


def _flock(kind: int) -> bytes:
    return (
        struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 1, 0)
        if sys.platform == "linux"
        else struct.pack(_FLOCK, 0, 1, 0, kind, os.SEEK_SET)
    )


def take_lock(folder: str) -> int | None:
    """Locks a service's folder for the life of this process, or None if another supervisor holds it.

    The descriptor must stay open, and the file must not be opened again: closing any descriptor of it drops the lock.
    """
    fd = os.open(f"{folder}/{LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLK, _flock(fcntl.F_WRLCK))
    except OSError:
        os.close(fd)
        return None
    return fd


def lock_holder(folder: str) -> int | None:
    """The process id of the living supervisor, from the kernel itself; None if there is none. Takes no lock.

    Raises:
        OSError: The folder cannot be read.
    """
    try:
        fd = os.open(f"{folder}/{LOCK}", os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        answer = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, _flock(fcntl.F_WRLCK)))
    finally:
        os.close(fd)
    kind, pid = (answer[0], answer[4]) if sys.platform == "linux" else (answer[3], answer[2])
    return None if kind == fcntl.F_UNLCK else int(pid)


def remove_tree(path: str) -> None:
    """Removes a folder and all below it, not following links; what is gone already is fine."""
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        _unlink(path)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove_tree(entry.path)
        else:
            _unlink(entry.path)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)


def stamp(path: str) -> list[int] | None:
    """What tells a file from one that was written since: inode, time and size; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_ino, status.st_mtime_ns, status.st_size]


def remove_leftovers(root: str, name: str) -> None:
    """Removes folders of a service that were being made or taken away when their maker was killed."""
    prefix = f".{name}."
    for entry in os.listdir(root):
        rest = entry[len(prefix) :].split(".")
        if entry.startswith(prefix) and len(rest) == 2 and rest[1] in ("new", "gone"):
            remove_tree(f"{root}/{entry}")


def take_away(folder: str) -> None:
    """Makes a service's folder disappear in one step, then removes what it held."""
    parent, name = os.path.split(folder)
    gone = f"{parent}/.{name}.{os.getpid()}.gone"
    try:
        os.rename(folder, gone)
    except FileNotFoundError:
        return
    remove_tree(gone)
