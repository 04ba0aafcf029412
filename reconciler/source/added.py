"""A revision with files that are not there yet: what a tree would be if they were written."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from reconciler.core.contents import Contents, Entry, Listed, Revision, Tree
from reconciler.core.described import SourceFile
from reconciler.core.errors import InvalidError
from reconciler.source.objects import EXECUTABLE, FILE, FOLDER, Algorithm, TreeItem, format_tree, object_id


class AddedTree:
    """Implements `core.contents.Tree` over another tree; new folders have the ids that Git would give them.

    A folder that exists keeps its id, whatever is added in it: what is added is looked for by its own path.
    """

    def __init__(self, tree: Tree, files: Sequence[SourceFile]) -> None:
        self._tree = tree
        self._files = {file.path: file for file in files}
        algorithm: Algorithm = "sha256" if len(tree.revision.sha) == 64 else "sha1"
        self._ids = {path: object_id("blob", file.data, algorithm) for path, file in self._files.items()}
        self._folders: dict[str, str] = {}
        for folder in sorted(_folders_of(self._files), key=len, reverse=True):
            if tree.object_id(folder) is None:
                self._folders[folder] = object_id("tree", format_tree(self._items(folder)), algorithm)
        self._contents = _AddedContents(tree.contents, self._files, self._ids, self._folders)

    def _items(self, folder: str) -> Iterator[TreeItem]:
        for path, file in self._files.items():
            if posixpath.dirname(path) == folder:
                yield TreeItem(posixpath.basename(path), EXECUTABLE if file.executable else FILE, self._ids[path])
        for inner, id_ in self._folders.items():
            if posixpath.dirname(inner) == folder:
                yield TreeItem(posixpath.basename(inner), FOLDER, id_)

    @property
    def revision(self) -> Revision:
        """The commit of the other tree, with uncommitted files."""
        before = self._tree.revision
        return Revision(before.sha, before.ref, before.subject, before.committed_at, dirty=True)

    @property
    def contents(self) -> Contents:
        """The bytes of both."""
        return self._contents

    def documents(self) -> Sequence[Listed]:
        """The YAML files of both, by path."""
        added = [Listed(path, self._ids[path]) for path in self._files if path.endswith((".yaml", ".yml"))]
        return sorted([*(file for file in self._tree.documents() if file.path not in self._files), *added])

    def read_all(self, files: Sequence[Listed], limit: int) -> Iterator[bytes | int | InvalidError]:
        """The bytes of each file."""
        others = self._tree.read_all([file for file in files if file.path not in self._files], limit)
        for file in files:
            added = self._files.get(file.path)
            yield added.data if added is not None else next(others)

    def object_id(self, path: str) -> str | None:
        """Git's id of a file or folder."""
        plain = posixpath.normpath(path)
        return self._ids.get(plain) or self._folders.get(plain) or self._tree.object_id(path)

    def is_folder(self, path: str) -> bool:
        """Whether it is one."""
        plain = posixpath.normpath(path)
        return plain in self._folders or (plain not in self._files and self._tree.is_folder(path))

    def size(self, path: str) -> int:
        """Bytes of a file."""
        added = self._files.get(posixpath.normpath(path))
        return len(added.data) if added is not None else self._tree.size(path)

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes."""
        added = self._files.get(posixpath.normpath(path))
        return added.data if added is not None else self._tree.read(path, limit)

    def names(self, folder: str) -> list[str]:
        """What is in a folder."""
        added = [posixpath.basename(path) for path in (*self._files, *self._folders) if _parent(path) == folder]
        return sorted({*self._tree.names(folder), *added})


class _AddedContents:
    def __init__(
        self, contents: Contents, files: Mapping[str, SourceFile], ids: Mapping[str, str], folders: Mapping[str, str]
    ) -> None:
        self._contents = contents
        self._files = files
        self._ids = ids
        self._blobs = {ids[path]: file.data for path, file in files.items()}
        self._folders = {id_: folder for folder, id_ in folders.items()}

    def files(self, object_id: str) -> Iterator[Entry]:
        """Every file of a tree, or the single one of a blob."""
        if object_id in self._blobs:
            yield Entry("", object_id, len(self._blobs[object_id]))
        elif object_id in self._folders:
            start = f"{self._folders[object_id]}/"
            for path, file in sorted(self._files.items()):
                if path.startswith(start):
                    yield Entry(path.removeprefix(start), self._ids[path], len(file.data), file.executable)
        else:
            yield from self._contents.files(object_id)

    def open(self, object_id: str) -> BinaryIO:
        """A stream over a blob."""
        data = self._blobs.get(object_id)
        return io.BytesIO(data) if data is not None else self._contents.open(object_id)


def _parent(path: str) -> str:
    return posixpath.dirname(path)


def _folders_of(paths: Mapping[str, SourceFile]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        folder = posixpath.dirname(path)
        while folder:
            found.add(folder)
            folder = posixpath.dirname(folder)
    return found
