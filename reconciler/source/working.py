"""A working copy as it lies there: Git's last tree with the files laid over it that differ, under Git's own ids."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.errors import InvalidError, UnavailableError
from reconciler.source.command import Git, end, last_line
from reconciler.source.database import STREAM_FROM, Database
from reconciler.source.lfs import Pointer
from reconciler.source.objects import (
    EXECUTABLE,
    FILE,
    FOLDER,
    SUBMODULE,
    SYMLINK,
    Algorithm,
    Difference,
    Hasher,
    TreeItem,
    format_tree,
    hasher,
    object_id,
)

_CHUNK = 1 << 18
# A file written this recently may be written again without its time stamp moving, so its id is not remembered.
_RACY_SECONDS = 2.0

_STATUS = (
    "status",
    "--porcelain=v2",
    "-z",
    "--untracked-files=all",
    "--no-renames",
    "--ignore-submodules=all",
)
_FILTER_OFF = {"clean": "", "smudge": "", "process": "", "required": "false"}

_Stamp: TypeAlias = tuple[int, int, int, int, int]


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


@dataclass(slots=True)
class StatCache:
    """Ids of files that did not change since they were hashed; one for all looks at a working copy."""

    clock: Callable[[], float] = time.time
    _known: dict[str, tuple[_Stamp, str]] = field(default_factory=dict[str, tuple[_Stamp, str]])

    def identify(self, root: Path, path: str, algorithm: Algorithm) -> tuple[str, _Stamp]:
        """Git's id of a regular file, and the stamp it had.

        Raises:
            InvalidError: It cannot be read, or does not stand still.
        """
        full = root / path
        try:
            for _ in range(3):
                before = _stamp(full.lstat())
                known = self._known.get(path)
                if known is not None and known[0] == before:
                    return known[1], before
                with full.open("rb") as stream:
                    digest, size = hasher("blob", before[0], algorithm), 0
                    while block := stream.read(_CHUNK):
                        digest.update(block)
                        size += len(block)
                    after = _stamp(os.fstat(stream.fileno()))
                if after == before and size == before[0]:
                    identity = digest.hexdigest()
                    if before[1] / 1e9 < self.clock() - _RACY_SECONDS:
                        self._known[path] = (before, identity)
                    return identity, before
        except OSError as error:
            raise InvalidError(f"{path} cannot be read: {error.strerror}") from error
        raise InvalidError(f"{path} is being written while it is read", hint="try again when the writer is done")


@dataclass(frozen=True, slots=True)
class _OnDisk:
    path: str
    stamp: _Stamp


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a working copy has that its last commit has not.

    Args:
        root: The id of the whole tree as it lies there; that of the commit's tree if nothing differs.
        changed: Paths that were changed, added or deleted.
    """

    root: str
    changed: tuple[str, ...]
    trees: dict[str, tuple[TreeItem, ...]]
    files: dict[str, _OnDisk]
    small: dict[str, bytes]


class Looking:
    """A `git status` under way, ended when the block is left.

    Args:
        filtering: The repository may name commands to run over files; none of them runs.
        timeout: Seconds.
    """

    def __init__(self, git: Git, filtering: bool, *, timeout: float) -> None:
        self.git = without_filters(git, timeout) if filtering else git
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Looking:
        self._process = self.git.start(*_STATUS)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            end(self._process)

    def found(self) -> Iterable[str]:
        """Paths that are not as in Git's index or its last commit, deleted and new ones too.

        Raises:
            UnavailableError: Git cannot tell.
        """
        assert self._process is not None
        result = self.git.finish(self._process, _STATUS, timeout=self._timeout)
        if result.code != 0:
            raise UnavailableError(f"git status failed in {self.git.folder}: {last_line(result.error)}")
        return _paths(result.output)


def overlay(looking: Looking, database: Database, head_tree: str, cache: StatCache) -> Overlay:
    """Compares a working copy with its last commit: what Git's index says is unchanged is not read.

    Untracked files count unless a `.gitignore` names them. Ids are over the bytes as they lie there, without
    end-of-line conversion; a file whose commit holds its Git LFS pointer counts as unchanged.

    Raises:
        InvalidError: A file cannot be read.
        UnavailableError: Git cannot tell.
    """
    builder = _Builder(looking.git.folder, database, cache)
    for path in looking.found():
        builder.look(path, head_tree)
    return builder.finish(head_tree)


def without_filters(git: Git, timeout: float) -> Git:
    """The same git, which runs none of the commands over files that the repository names (gitattributes(5), "filter").

    Whatever writes the index may run them, too: over files that were written in the same instant as it.
    """
    told = git.run("config", "-z", "--name-only", "--get-regexp", r"^filter\.", timeout=timeout)
    filters = {name.rsplit(".", 1)[0] for name in told.output.decode("utf-8", "surrogateescape").split("\0") if name}
    off = {f"{name}.{key}": value for name in filters for key, value in _FILTER_OFF.items()}
    return replace(git, config={**git.config, **off})


def _paths(output: bytes) -> Iterable[str]:
    # git-status(1), "Porcelain Format Version 2": the path is the last field of each kind of line.
    fields = {b"1": 8, b"u": 10, b"?": 1}
    for line in output.split(b"\0"):
        if line[:1] in fields:
            yield os.fsdecode(line.split(b" ", fields[line[:1]])[-1])


class _Builder:
    def __init__(self, root: Path, database: Database, cache: StatCache) -> None:
        self._root = root
        self._database = database
        self._cache = cache
        self._changes: dict[str, TreeItem | None] = {}
        self._trees: dict[str, tuple[TreeItem, ...]] = {}
        self._files: dict[str, _OnDisk] = {}
        self._small: dict[str, bytes] = {}

    def look(self, path: str, head_tree: str) -> None:
        """Records what stands at a path that Git says differs."""
        name = path.rstrip("/")
        item = self._item(name, nested=path.endswith("/"))
        committed = self._committed(head_tree, name)
        if item is not None and committed is not None and self._same_large_file(name, committed, item):
            item = committed
        if item is None and committed is not None and committed.is_folder:
            # The index has a file of that name, HEAD a folder: what differs below it is listed by itself.
            return
        if item != committed:
            self._changes[name] = item

    def _item(self, path: str, *, nested: bool) -> TreeItem | None:
        name = path.rsplit("/", 1)[-1]
        if nested:
            return TreeItem(name, SUBMODULE, "0" * len(object_id("blob", b"", self._database.algorithm)))
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if (self._root / "/".join(parts[:depth])).is_symlink():
                return None
        full = self._root / path
        try:
            status = full.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InvalidError(f"{path} cannot be read: {error.strerror}") from error
        if stat.S_ISLNK(status.st_mode):
            target = os.fsencode(full.readlink())
            identity = object_id("blob", target, self._database.algorithm)
            self._small[identity] = target
            return TreeItem(name, SYMLINK, identity)
        if not stat.S_ISREG(status.st_mode):
            return None
        identity, stamp = self._cache.identify(self._root, path, self._database.algorithm)
        self._files[identity] = _OnDisk(path, stamp)
        return TreeItem(name, EXECUTABLE if status.st_mode & 0o100 else FILE, identity)

    def _committed(self, tree: str, path: str) -> TreeItem | None:
        item: TreeItem | None = None
        for step in path.split("/"):
            if item is not None and not item.is_folder:
                return None
            items = self._database.tree(item.object_id if item else tree)
            item = next((each for each in items if each.name == step), None)
            if item is None:
                return None
        return item

    def _same_large_file(self, path: str, committed: TreeItem, item: TreeItem) -> bool:
        if not (committed.is_file and item.mode == committed.mode and item.object_id != committed.object_id):
            return False
        if self._database.sizes([committed.object_id])[committed.object_id] > Pointer.MAX_BYTES:
            return False
        pointer = Pointer.parse(self._database.read(committed.object_id))
        if pointer is None or self._files[item.object_id].stamp[0] != pointer.size:
            return False
        with (self._root / path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == pointer.sha256

    def finish(self, head_tree: str) -> Overlay:
        """The tree that the changes make of the committed one."""
        root = self._merge(head_tree, self._changes) if self._changes else head_tree
        if root is None:
            root = object_id("tree", b"", self._database.algorithm)
            self._trees[root] = ()
        return Overlay(root, tuple(sorted(self._changes)), self._trees, self._files, self._small)

    def _merge(self, tree: str | None, changes: dict[str, TreeItem | None]) -> str | None:
        items = {item.name: item for item in self._database.tree(tree)} if tree else {}
        below: dict[str, dict[str, TreeItem | None]] = {}
        for path, item in changes.items():
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, {})[rest] = item
            elif item is not None:
                items[name] = item
            # A deleted file whose name is now that of a folder comes back through what stands below it.
            else:
                items.pop(name, None)
        for name, inner in below.items():
            old = items.get(name)
            if old is not None and not old.is_folder and all(item is None for item in inner.values()):
                continue
            merged = self._merge(old.object_id if old is not None and old.is_folder else None, inner)
            if merged is None:
                items.pop(name, None)
            else:
                items[name] = TreeItem(name, FOLDER, merged)
        if not items:
            return None
        data = format_tree(items.values())
        identity = object_id("tree", data, self._database.algorithm)
        self._trees[identity] = tuple(items.values())
        return identity


class WorkingObjects:
    """A repository's objects with those of an overlay; implements `tree.Objects`."""

    def __init__(self, root: Path, database: Database, over: Overlay) -> None:
        self._root = root
        self._database = database
        self._over = over

    def tree(self, object_id: str) -> tuple[TreeItem, ...]:
        """A folder's items."""
        found = self._over.trees.get(object_id)
        return found if found is not None else self._database.tree(object_id)

    def kind(self, object_id: str) -> str | None:
        """`blob`, `tree` … or None."""
        if object_id in self._over.trees:
            return "tree"
        if object_id in self._over.files or object_id in self._over.small:
            return "blob"
        return self._database.kind(object_id)

    def sizes(self, object_ids: Iterable[str]) -> dict[str, int]:
        """Bytes of blobs."""
        found: dict[str, int] = {}
        others: list[str] = []
        for oid in object_ids:
            if oid in self._over.files:
                found[oid] = self._over.files[oid].stamp[0]
            elif oid in self._over.small:
                found[oid] = len(self._over.small[oid])
            else:
                others.append(oid)
        return found | self._database.sizes(others)

    def read(self, object_id: str, kind: str = "blob", limit: int | None = None) -> bytes:
        """An object's bytes.

        Raises:
            InvalidError: It is not there, too large, or a file that changed since it was identified.
        """
        if object_id in self._over.small:
            return self._over.small[object_id]
        if kind != "blob" or object_id not in self._over.files:
            return self._database.read(object_id, kind, limit)
        size = self._over.files[object_id].stamp[0]
        if limit is not None and size > limit:
            raise InvalidError(f"object {object_id} has {size} bytes, more than the allowed {limit}")
        with self.open(object_id) as stream:
            return stream.read()

    def read_many(self, object_ids: Sequence[str], limit: int) -> Iterator[bytes | int | InvalidError]:
        """The bytes of blobs in their order; of one larger than `limit` its size.

        The error stands for one that is not there, and for a file that changed since it was identified.
        """
        here = self._over.files.keys() | self._over.small.keys()
        others = self._database.read_many([oid for oid in object_ids if oid not in here], limit)
        for oid in object_ids:
            yield self._read_here(oid, limit) if oid in here else next(others)

    def _read_here(self, object_id: str, limit: int) -> bytes | int | InvalidError:
        size = self.sizes([object_id])[object_id]
        if size > limit:
            return size
        try:
            return self.read(object_id)
        except InvalidError as error:
            return error

    def differences(self, before: str, after: str) -> Sequence[Difference] | None:
        """What one tree has that another has not; None if one of them is not in the repository."""
        if before in self._over.trees or after in self._over.trees:
            return None
        return self._database.differences(before, after)

    def open(self, object_id: str) -> BinaryIO:
        """A stream over a blob; a file's bytes are hashed again on the way.

        Raises:
            InvalidError: It is not there, or a file that changed since it was identified.
        """
        if object_id in self._over.small:
            return io.BytesIO(self._over.small[object_id])
        place = self._over.files.get(object_id)
        if place is None:
            return self._database.open(object_id)
        try:
            stream = (self._root / place.path).open("rb", buffering=0)
        except OSError as error:
            raise _changed(place.path) from error
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != place.stamp[0]:
            stream.close()
            raise _changed(place.path)
        checked = _Checked(stream, place, hasher("blob", place.stamp[0], self._database.algorithm), object_id)
        if place.stamp[0] >= STREAM_FROM:
            return cast("BinaryIO", io.BufferedReader(checked, _CHUNK))
        with checked:
            return io.BytesIO(checked.readall())


class _Checked(io.RawIOBase):
    """A file's bytes; ends with an error instead of with bytes that are not those that were identified."""

    def __init__(self, stream: io.FileIO, place: _OnDisk, digest: Hasher, expected: str) -> None:
        self._stream = stream
        self._place = place
        self._digest = digest
        self._expected = expected

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._stream.readinto(buffer)
        if count:
            self._digest.update(memoryview(buffer)[:count])
        elif len(buffer) and self._digest.hexdigest() != self._expected:
            raise _changed(self._place.path)
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def _changed(path: str) -> InvalidError:
    return InvalidError(
        f"{path} changed while it was being used", hint="plan again; commit first to work on a fixed state"
    )
