"""A file of a working copy, written in one step."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from reconciler.core.errors import UnavailableError


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file, with the mode that it has or that new files get; it is there as a whole or as it was.

    Raises:
        UnavailableError: It cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(_mode(path))
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error


def _mode(path: Path) -> int:
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
