"""Plain tables: columns as wide as their widest cell, the last one free."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from reconciler.core.dataclass import dataclass
from reconciler.views.style import PLAIN, Style


@dataclass(frozen=True, slots=True)
class Cell:
    """Text with the names of its styles; it must be printable already."""

    text: str
    styles: tuple[str, ...] = ()


def width(text: str) -> int:
    """Columns that a text takes on a terminal (Unicode Annex 11: wide and full-width characters take two)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(ch) else 2 if unicodedata.east_asian_width(ch) in "WF" else 1 for ch in text)


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], style: Style = PLAIN) -> list[str]:
    """The lines of a table; columns that are empty in every row are left out."""
    kept = [i for i in range(len(head)) if any(row[i].text for row in rows)]
    if not kept:
        return []
    widths = {i: max(width(head[i]), *(width(row[i].text) for row in rows)) for i in kept}
    lines = [_line([Cell(head[i], ("dim",)) for i in kept], [widths[i] for i in kept], style)]
    lines += [_line([row[i] for i in kept], [widths[i] for i in kept], style) for row in rows]
    return lines


def _line(cells: Sequence[Cell], widths: Sequence[int], style: Style) -> str:
    parts: list[str] = []
    for index, (cell, wide) in enumerate(zip(cells, widths, strict=True)):
        padding = "" if index == len(cells) - 1 else " " * (wide - width(cell.text) + 2)
        parts.append(style.paint(cell.text, *cell.styles) + padding)
    return "".join(parts).rstrip()
