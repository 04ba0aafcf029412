"""Trees for tests: files in memory or of a folder, under the ids Git would give them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from reconciler.core.contents import Entry, Listed, Revision
from reconciler.core.errors import InvalidError


def git_id(kind: str, data: bytes) -> str:
    """Git's id of an object (gitformat: `<kind> <size>\\0<data>`)."""
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def _counts(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


@lru_cache(maxsize=4096)
def _listed(path: str, object_id: str) -> Listed:
    """The same object for the same file, as it is from one commit of a repository to the next."""
    return Listed(path, object_id)


class MemoryTree:
    """A `Tree` and its `Contents` over a mapping of paths to bytes."""

    def __init__(self, files: Mapping[str, bytes | str], sha: str = "0" * 40) -> None:
        self._files = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        self._ids: dict[str, str] = {}
        self._blobs: dict[str, bytes] = {}
        self._folders: dict[str, dict[str, str]] = {"": {}}
        for path, data in self._files.items():
            self._blobs[self._ids.setdefault(path, git_id("blob", data))] = data
            while path:
                folder, _, name = path.rpartition("/")
                self._folders.setdefault(folder, {})[name] = path
                path = folder
        self._below: dict[str, str] = {}
        for folder in sorted(self._folders, key=len, reverse=True):
            listing = "".join(f"{name} {self._ids[path]}\n" for name, path in sorted(self._folders[folder].items()))
            self._ids[folder] = git_id("tree", listing.encode())
            self._below[self._ids[folder]] = folder
        self._revision = Revision(sha, "main")
        self.reads: list[str] = []

    @classmethod
    def of(cls, folder: Path) -> MemoryTree:
        """The files of a folder on disk."""
        return cls({str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if _counts(p)})

    def changed(self, files: Mapping[str, bytes | str | None], sha: str = "1" * 40) -> MemoryTree:
        """Another revision: some files replaced, those of None removed."""
        return MemoryTree({p: d for p, d in {**self._files, **files}.items() if d is not None}, sha)

    def paths(self) -> list[str]:
        """All files."""
        return sorted(self._files)

    @property
    def revision(self) -> Revision:
        return self._revision

    @property
    def contents(self) -> MemoryTree:
        return self

    def documents(self) -> Sequence[Listed]:
        return [_listed(path, self._ids[path]) for path in sorted(self._files) if path.endswith((".yaml", ".yml"))]

    def read_all(self, files: Sequence[Listed], limit: int) -> Iterator[bytes | int | InvalidError]:
        for file in files:
            size = len(self._files[file.path])
            yield self.read(file.path, limit) if size <= limit else size

    def object_id(self, path: str) -> str | None:
        return self._ids.get(path)

    def is_folder(self, path: str) -> bool:
        return path in self._folders

    def size(self, path: str) -> int:
        return len(self._files[path])

    def read(self, path: str, limit: int) -> bytes:
        self.reads.append(path)
        if path not in self._files:
            raise InvalidError(f"there is no file {path}")
        if len(self._files[path]) > limit:
            raise InvalidError(f"{path} has more than {limit} bytes")
        return self._files[path]

    def names(self, folder: str) -> list[str]:
        return sorted(self._folders.get(folder, {}))

    def files(self, object_id: str) -> Iterator[Entry]:
        folder = self._below[object_id]
        for path in sorted(self._files):
            if not folder or path.startswith(f"{folder}/"):
                yield Entry(path[len(folder) :].lstrip("/"), self._ids[path], len(self._files[path]))

    def open(self, object_id: str) -> BinaryIO:
        return io.BytesIO(self._blobs[object_id])
