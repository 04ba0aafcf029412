"""Git's object formats: ids, tree listings, commits, as pure functions over bytes.

Formats: gitformat-pack(5), git-hash-object(1), "Git Internals - Git Objects" in the Git documentation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, Protocol

from reconciler.core.dataclass import dataclass

if TYPE_CHECKING:
    from reconciler.core.errors import InvalidError

Algorithm = Literal["sha1", "sha256"]

FOLDER = 0o040000
FILE = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
SUBMODULE = 0o160000
_TYPE = 0o170000
_MODES = {b"%o" % mode: mode for mode in (FOLDER, FILE, EXECUTABLE, SYMLINK, SUBMODULE)}


class Hasher(Protocol):
    """The part of hashlib's objects that is used here."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Adds bytes."""
        ...

    def hexdigest(self) -> str:
        """The digest so far."""
        ...


class TreeItem(NamedTuple):
    """One name in a folder; `object_id` is that of a blob, a tree or, for submodules, a foreign commit."""

    name: str
    mode: int
    object_id: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a tree."""
        return self.mode & _TYPE == FOLDER

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, executable or not."""
        return self.mode & _TYPE == 0o100000

    @property
    def is_symlink(self) -> bool:
        """Whether it is a symbolic link; its blob holds the target."""
        return self.mode & _TYPE == SYMLINK

    @property
    def is_submodule(self) -> bool:
        """Whether it is another repository's commit."""
        return self.mode & _TYPE == SUBMODULE

    @property
    def executable(self) -> bool:
        """Whether a file's executable bit is set."""
        return self.is_file and bool(self.mode & 0o111)


class Difference(NamedTuple):
    """A file that is not as it was: `path` from the top of the tree, `before` and `after` None where there is none."""

    path: str
    before: TreeItem | None
    after: TreeItem | None


class Objects(Protocol):
    """Where trees and blobs come from: a repository, or a repository with uncommitted files laid over it."""

    def tree(self, object_id: str) -> tuple[TreeItem, ...]:
        """A folder's items."""
        ...

    def kind(self, object_id: str) -> str | None:
        """`blob`, `tree` … or None."""
        ...

    def sizes(self, object_ids: Iterable[str]) -> dict[str, int]:
        """Bytes of blobs."""
        ...

    def read(self, object_id: str, kind: str = "blob", limit: int | None = None) -> bytes:
        """An object's bytes."""
        ...

    def read_many(self, object_ids: Sequence[str], limit: int) -> Iterator[bytes | int | InvalidError]:
        """The bytes of blobs in their order; of one of more than `limit` bytes its size; or why one cannot be read."""
        ...

    def differences(self, before: str, after: str) -> Sequence[Difference] | None:
        """What one tree has that another has not, in its folders too; None where that cannot be told quickly."""
        ...

    def open(self, object_id: str) -> BinaryIO:
        """A stream over a blob."""
        ...


# gitformat: `<mode> <name>\\0<raw id>` for each item; a regular expression walks it ten times as fast as a loop.
_ITEM_SHA1 = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)
_ITEM_SHA256 = re.compile(rb"([0-7]+) ([^\0]+)\0(.{32})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Commit:
    """What is needed of a commit object."""

    tree: str
    subject: str
    committed_at: float


def hasher(kind: str, size: int, algorithm: Algorithm = "sha1") -> Hasher:
    """A hash that yields Git's id of an object once its `size` bytes have been added."""
    digest = hashlib.sha1(usedforsecurity=False) if algorithm == "sha1" else hashlib.sha256()
    digest.update(f"{kind} {size}\0".encode())
    return digest


def object_id(kind: str, data: bytes, algorithm: Algorithm = "sha1") -> str:
    """Git's id of an object held in memory."""
    digest = hasher(kind, len(data), algorithm)
    digest.update(data)
    return digest.hexdigest()


def parse_tree(data: bytes, algorithm: Algorithm = "sha1") -> tuple[TreeItem, ...]:
    """The items of a tree object, in Git's order; names that are not UTF-8 keep their bytes as surrogates."""
    form = _ITEM_SHA1 if algorithm == "sha1" else _ITEM_SHA256
    modes = _MODES
    return tuple(
        [
            TreeItem(name.decode("utf-8", "surrogateescape"), modes.get(mode) or int(mode, 8), identity.hex())
            for mode, name, identity in form.findall(data)
        ]
    )


def format_tree(items: Iterable[TreeItem]) -> bytes:
    """The bytes of a tree object; folders sort as if their names ended in a slash, as Git sorts them."""
    ordered = sorted(
        (item.name.encode("utf-8", "surrogateescape") + (b"/" if item.is_folder else b""), item) for item in items
    )
    return b"".join(
        b"%o %s\0%s" % (item.mode, name.removesuffix(b"/") if item.is_folder else name, bytes.fromhex(item.object_id))
        for name, item in ordered
    )


def parse_commit(data: bytes) -> Commit:
    """Tree, subject and time of a commit object."""
    head, _, message = data.partition(b"\n\n")
    tree, committed_at = "", 0.0
    for line in head.split(b"\n"):
        if line.startswith(b"tree ") and not tree:
            tree = line[5:].decode()
        elif line.startswith(b"committer "):
            stamp = line.rsplit(b" ", 2)
            committed_at = float(stamp[1]) if len(stamp) == 3 and stamp[1].lstrip(b"-").isdigit() else 0.0
    first = message.strip().split(b"\n", 1)[0]
    return Commit(tree, first.decode("utf-8", "replace").strip(), committed_at)


def parse_differences(data: bytes) -> Iterator[Difference]:
    """What `git diff-tree -r -z --raw` says: `:<mode> <mode> <id> <id> <letter>`, then a path (git-diff(1))."""
    words = data.split(b"\0")
    for told, path in zip(words[::2], words[1::2], strict=False):
        before_mode, after_mode, before, after, _ = told[1:].decode().split(" ")
        name = path.decode("utf-8", "surrogateescape")
        yield Difference(name, _item(name, before_mode, before), _item(name, after_mode, after))


def _item(path: str, mode: str, object_id: str) -> TreeItem | None:
    return TreeItem(path.rpartition("/")[2], int(mode, 8), object_id) if int(mode, 8) else None
