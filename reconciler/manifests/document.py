"""One YAML document as it was read: its value, and where in the file each part of it stands.

Apart from `yaml`, which reads them, so that a run in which no document changed does without the parser.
"""

from __future__ import annotations

import marshal
from functools import lru_cache
from typing import Any, cast

from reconciler.core.dataclass import dataclass, field
from reconciler.core.problems import Position, Problem

COLUMN_BITS = 21
COLUMN_MASK = (1 << COLUMN_BITS) - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost.

    Args:
        bytes: Size of the file.
        depth: Levels of nesting.
        documents: Documents in the file.
        nodes: Keys and values in the file, aliases counted as often as they are used.
    """

    bytes: int = 1 << 20
    depth: int = 64
    documents: int = 1000
    nodes: int = 100_000


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Marks:
    """Where the keys and values of one document stand: needed for problems only, so kept packed, or not at all.

    Args:
        line, column: Where the document begins.
        packed: Marshalled `({pointer: (key, value)}, {alias pointer: anchor pointer})`, a place being line and column.
        text: Instead of that, the file's bytes, which are read again when somebody asks; it holds one document.
    """

    file: str
    line: int
    column: int
    packed: bytes = field(default=b"", repr=False)
    text: bytes = field(default=b"", repr=False)

    def at(self, pointer: str = "", *, key: bool = False) -> Position:
        """Where a value (or its key) stands; for one that is not there, where the nearest enclosing value stands."""
        if not pointer:
            return Position(self.file, self.line, self.column)
        packed = self.packed or _packed(self.text)
        places, aliases = cast("tuple[dict[str, tuple[int, int]], dict[str, str]]", marshal.loads(packed))  # noqa: S302
        for _ in range(1000):
            place = places.get(pointer)
            if place is not None:
                at = place[0] if key else place[1]
                return Position(self.file, at >> COLUMN_BITS, at & COLUMN_MASK)
            anchored = _through_alias(pointer, aliases) if aliases else None
            if anchored is None:
                pointer, key = pointer.rpartition("/")[0], False
            else:
                pointer = anchored
            if not pointer:
                break
        return Position(self.file, self.line, self.column)

    @property
    def kept(self) -> tuple[int, int, bytes, bytes]:
        """The arguments, after the file, of another one that is equal."""
        return self.line, self.column, self.packed, self.text

    def settled(self) -> Marks:
        """The same, packed: for documents whose places every run asks for."""
        return self if self.packed else Marks(self.file, self.line, self.column, _packed(self.text))


@lru_cache(maxsize=16)
def _packed(text: bytes) -> bytes:
    from reconciler.manifests.yaml import places

    return places(text)


def _through_alias(pointer: str, aliases: dict[str, str]) -> str | None:
    head = pointer
    while head:
        if head in aliases:
            return aliases[head] + pointer[len(head) :]
        head = head.rpartition("/")[0]
    return None


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    Args:
        value: Plain values; None for an empty document.
        sound: No problem was found in it.
    """

    value: Any
    marks: Marks
    sound: bool = True


def too_large(file: str, size: int, limits: Limits = LIMITS) -> Problem:
    """The problem of a file above the limit of bytes."""
    message = f"this file has {size} bytes; a manifest file may have {limits.bytes}"
    return Problem("yaml-limit", message, Position(file), "split it into several files")
