"""The build context: a tar archive of everything the Dockerfile copies, the same bytes for the same inputs."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

_TIME = 0  # mtimes are not content: the same inputs give the same archive


class Context:
    """A tar archive being written; all owners are root, all times are the epoch.

    Args:
        stream: Where it goes; seekable, so that the engine can be sent it from the start.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by close
        self._folders: set[str] = set()

    def text(self, name: str, content: str) -> None:
        """Adds a file with some text."""
        data = content.encode()
        self.stream(name, io.BytesIO(data), len(data))

    def stream(self, name: str, source: BinaryIO, size: int, *, executable: bool = False) -> None:
        """Adds a file of known size from a stream."""
        self.folder(name.rpartition("/")[0])
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = size, _TIME, 0o755 if executable else 0o644
        self._tar.addfile(entry, source)

    def folder(self, name: str) -> None:
        """Adds a folder and those above it, each once."""
        parts = [part for part in name.split("/") if part]
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            if path not in self._folders:
                self._folders.add(path)
                entry = tarfile.TarInfo(path)
                entry.type, entry.mtime, entry.mode = tarfile.DIRTYPE, _TIME, 0o755
                self._tar.addfile(entry)

    def tree(self, name: str, root: Path) -> None:
        """Adds everything below a folder on disk, sorted, links followed."""
        self.folder(name)
        for path in _files(root):
            with path.open("rb") as source:
                size = os.fstat(source.fileno()).st_size
                executable = bool(path.stat().st_mode & 0o100)
                self.stream(f"{name}/{path.relative_to(root).as_posix()}", source, size, executable=executable)

    def close(self) -> None:
        """Ends the archive."""
        self._tar.close()


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            if not name.endswith(".pyc"):
                yield Path(folder) / name
