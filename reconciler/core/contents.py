"""Reading a revision's files by content: what sources provide and artifacts and drivers consume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from reconciler.core.dataclass import dataclass

if TYPE_CHECKING:
    from reconciler.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit: written `main@sha1:9c41…`; `dirty` marks a working copy with uncommitted changes."""

    sha: str
    ref: str = ""
    subject: str = ""
    committed_at: float = 0.0
    dirty: bool = False

    def __str__(self) -> str:
        name = f"{self.ref}@" if self.ref else ""
        return f"{name}sha1:{self.sha}{'+dirty' if self.dirty else ''}"

    @classmethod
    def parse(cls, text: str) -> Revision:
        """The commit that `str()` printed; its subject and time are not known."""
        name, _, sha = text.rpartition("@")
        plain = sha.removeprefix("sha1:")
        return cls(plain.removesuffix("+dirty"), name, dirty=plain.endswith("+dirty"))

    @property
    def short(self) -> str:
        """For people: `main@9c41f02`."""
        name = f"{self.ref}@" if self.ref else ""
        return f"{name}{self.sha[:7]}{'+dirty' if self.dirty else ''}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file below a folder; `path` is relative to that folder, `object_id` is Git's id of the bytes."""

    path: str
    object_id: str
    size: int
    executable: bool = False


class Listed(NamedTuple):
    """A file that can hold manifests; `path` is relative to the manifest path, `object_id` is Git's id of the bytes.

    A tuple, since there are thousands in every look at a revision. `dangling`: It is a link that leads nowhere.
    """

    path: str
    object_id: str
    dangling: bool = False


class Contents(Protocol):
    """Bytes by Git object id: immutable, so a digest taken at plan time still holds at apply time."""

    def files(self, object_id: str) -> Iterator[Entry]:
        """Every file of a tree (or the single file of a blob, with an empty path), in-tree symlinks followed.

        Raises:
            InvalidError: A symlink leaves the tree, or the object is not there.
        """
        ...

    def open(self, object_id: str) -> BinaryIO:
        """A stream over a blob's bytes; the caller closes it.

        Raises:
            InvalidError: The object is not there, or is a file that changed since it was identified.
        """
        ...


class Tree(Protocol):
    """The files of one revision below the manifest path."""

    @property
    def revision(self) -> Revision:
        """The commit these files belong to."""
        ...

    @property
    def contents(self) -> Contents:
        """Bytes of this and any other object of the repo."""
        ...

    def documents(self) -> Sequence[Listed]:
        """Every YAML file that can hold manifests, sorted by path. What was listed before may be the same object."""
        ...

    def read_all(self, files: Sequence[Listed], limit: int) -> Iterator[bytes | int | InvalidError]:
        """The bytes of each file; of one of more than `limit` bytes its size; of one that cannot be read the error."""
        ...

    def object_id(self, path: str) -> str | None:
        """Git's id of a file or folder (in-tree symlinks followed), or None if there is none."""
        ...

    def is_folder(self, path: str) -> bool:
        """Whether the path names a folder."""
        ...

    def size(self, path: str) -> int:
        """Bytes of a file."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes.

        Raises:
            InvalidError: There is no such file, or it is larger than `limit` bytes.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """The names in a folder, for did-you-mean; empty if there is none."""
        ...
