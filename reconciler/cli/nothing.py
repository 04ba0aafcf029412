"""A tree without files: what Git says when it is not asked."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from reconciler.core.contents import Entry, Listed, Revision
from reconciler.core.errors import InvalidError


class NoContents:
    """No bytes at all."""

    def files(self, object_id: str) -> Iterator[Entry]:
        """Nothing."""
        return iter(())

    def open(self, object_id: str) -> BinaryIO:
        """Nothing."""
        return io.BytesIO()


class NoTree:
    """Implements `core.contents.Tree` with nothing in it."""

    revision = Revision("0" * 40, subject="nothing")
    contents = NoContents()

    def documents(self) -> Sequence[Listed]:
        """None."""
        return ()

    def read_all(self, files: Sequence[Listed], limit: int) -> Iterator[bytes | int | InvalidError]:
        """There is no file."""
        return iter(())

    def object_id(self, path: str) -> str | None:
        """None."""
        return None

    def is_folder(self, path: str) -> bool:
        """Never."""
        return False

    def size(self, path: str) -> int:
        """There is no file."""
        raise InvalidError(f"there is no file {path}")

    def read(self, path: str, limit: int) -> bytes:
        """There is no file."""
        raise InvalidError(f"there is no file {path}")

    def names(self, folder: str) -> list[str]:
        """None."""
        return []
