"""Changing single values in the text of a YAML file: all else keeps every byte, comments and quotes and anchors too.

What is changed is found by its place, as the parser gave it. Whatever the edits say, the result is read again: it
counts only if exactly the values that were meant are others now, so that an anchor shared with others, or a way of
writing that is not understood here, is an error and never a wrong file.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias, cast

import yaml as pyyaml

from reconciler.core.dataclass import dataclass
from reconciler.core.diff import assign, differences, equal
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position
from reconciler.core.values import lookup
from reconciler.manifests.writing import quoted, scalar, to_yaml
from reconciler.manifests.yaml import parse

# The breaks that libyaml counts lines by (YAML 1.1 §5.4).
_scan = cast("Callable[..., Iterable[Any]]", pyyaml.scan)  # pyright: ignore[reportUnknownMemberType]
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Put:
    """Puts a single value in the place of the one that stands at a position."""

    position: Position
    value: str | int


@dataclass(frozen=True, slots=True)
class Insert:
    """Puts a key with a single value behind the key whose value stands at a position, in the same mapping."""

    position: Position
    key: str
    value: str | int


@dataclass(frozen=True, slots=True)
class Append:
    """Puts items at the end of the list that stands at a position."""

    position: Position
    values: Sequence[Mapping[str, Any]]


Edit: TypeAlias = "Put | Insert | Append"
# By the number of the document in the file, then by pointer: what stands there then; below `/-`, what a list gets more.
Expected: TypeAlias = Mapping[int, Mapping[str, Any]]


class _Splice(NamedTuple):
    start: int
    end: int
    text: str


def edited(data: bytes, file: str, edits: Sequence[Edit], expected: Expected) -> bytes:
    """The file with edits made.

    Args:
        expected: Every value that is another one afterwards.

    Raises:
        InvalidError: They cannot be made so that these values change and no others.
    """
    text = data.decode()
    layout = _Layout(text, file)
    splices = sorted(layout.splice(edit) for edit in edits)
    for one, other in pairwise(splices):
        if one.end > other.start:
            raise _by_hand(file, layout.line(other.start), "two of the changes meet in one place")
    for splice in reversed(splices):
        text = text[: splice.start] + splice.text + text[splice.end :]
    made = text.encode()
    _check(data, made, file, expected, min(edit.position.line for edit in edits))
    return made


def _check(before: bytes, after: bytes, file: str, expected: Expected, line: int) -> None:
    old, _ = parse(before, file)
    new, problems = parse(after, file)
    if problems or len(old) != len(new):
        raise _by_hand(file, line, "it is written in a way that cannot be edited safely")
    for number, (one, other) in enumerate(zip(old, new, strict=True)):
        meant: Any = one.value
        for pointer, value in expected.get(number, {}).items():
            if pointer.endswith("/-"):
                pointer = pointer.removesuffix("/-")
                value = [*lookup(meant, pointer), *value]
            meant = assign(meant, pointer, value)
        if equal(meant, other.value):
            continue
        strange = next(iter(differences(meant, other.value)))[0]
        at = one.marks.at(strange)
        if equal(lookup(meant, strange), lookup(one.value, strange)):
            raise _by_hand(file, line, f"it is shared with line {at.line} through an anchor")
        raise _by_hand(file, line, "it is written in a way that cannot be edited safely")


def _by_hand(file: str, line: int, why: str) -> InvalidError:
    return InvalidError(f"{file}:{line} cannot be changed by itself: {why}", hint="edit it by hand")


class _Layout:
    """Where the tokens of a file stand in its text."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        # A byte-order mark is no part of the first line.
        first = 1 if text.startswith("\ufeff") else 0
        self.starts: list[int] = [first, *(match.end() for match in _BREAK.finditer(text))]
        try:
            self.tokens: list[Any] = list(_scan(text, Loader=pyyaml.SafeLoader))
        except pyyaml.YAMLError as error:
            raise _by_hand(file, 1, "it is not YAML as far as can be told") from error

    def splice(self, edit: Edit) -> _Splice:
        """What an edit does to the text."""
        index = self._find(edit.position)
        match edit:
            case Put():
                return self._put(index, edit)
            case Insert():
                return self._insert(index, edit)
            case Append():
                return self._append(index, edit)

    def line(self, offset: int) -> int:
        """The line that an offset is in, from 1."""
        return bisect.bisect_right(self.starts, offset)

    def _offset(self, mark: Any) -> int:
        line: int = mark.line
        column: int = mark.column
        return self.starts[line] + column

    def _find(self, position: Position) -> int:
        """The token of the value at a place, behind its anchor."""
        line, column = position.line - 1, position.column - 1
        for index, token in enumerate(self.tokens):
            mark = token.start_mark
            if (mark.line, mark.column) == (line, column) and not isinstance(token, _STRUCTURE):
                return next(at for at in range(index, len(self.tokens)) if not isinstance(self.tokens[at], _BEFORE))
        raise _by_hand(self.file, position.line, "there is no value at that place")

    def _put(self, index: int, edit: Put) -> _Splice:
        token = self.tokens[index]
        written = scalar(edit.value)
        if isinstance(token, pyyaml.ScalarToken):
            if token.style in ("|", ">"):
                raise _by_hand(self.file, edit.position.line, "it is a block of text")
            if token.style == "'" and isinstance(edit.value, str) and edit.value.isprintable():
                written = "'" + edit.value.replace("'", "''") + "'"
            elif isinstance(edit.value, str) and (token.style == '"' or ("," in written and self._in_flow(index))):
                written = quoted(edit.value)
        elif not isinstance(token, pyyaml.AliasToken):
            raise _by_hand(self.file, edit.position.line, "it is no single value")
        return _Splice(self._offset(token.start_mark), self._offset(token.end_mark), written)

    def _insert(self, index: int, edit: Insert) -> _Splice:
        token = self.tokens[index]
        end = self._offset(token.end_mark)
        if self._in_flow(index):
            return _Splice(end, end, f", {edit.key}: {scalar(edit.value)}")
        key = next(t for t in reversed(self.tokens[:index]) if isinstance(t, pyyaml.ScalarToken))
        column = key.start_mark.column
        return self._new_lines(end, f"{' ' * column}{edit.key}: {scalar(edit.value)}")

    def _append(self, index: int, edit: Append) -> _Splice:
        if isinstance(self.tokens[index], pyyaml.FlowSequenceStartToken):
            close = self._closing(index)
            last = self.tokens[close - 1]
            start = self._offset(last.end_mark)
            lead = "" if close == index + 1 else " " if isinstance(last, pyyaml.FlowEntryToken) else ", "
            return _Splice(start, start, lead + ", ".join(_flow(value) for value in edit.values))
        if not isinstance(self.tokens[index], pyyaml.BlockEntryToken):
            raise _by_hand(self.file, edit.position.line, "it is no list")
        column = self.tokens[index].start_mark.column
        last = self._last_of_block(index)
        lines = to_yaml(edit.values).rstrip("\n").split("\n")
        return self._new_lines(
            self._offset(last.end_mark), "\n".join(" " * column + line if line else line for line in lines)
        )

    def _new_lines(self, offset: int, lines: str) -> _Splice:
        """Lines below the one that an offset is in, with the line ends that the file has."""
        found = _BREAK.search(self.text, offset)
        ends = found[0] if found else next((m[0] for m in _BREAK.finditer(self.text)), "\n")
        at = found.end() if found else len(self.text)
        added = lines.replace("\n", ends)
        return _Splice(at, at, f"{added}{ends}" if found else f"{ends}{added}")

    def _in_flow(self, index: int) -> bool:
        depth = 0
        for token in self.tokens[:index]:
            depth += isinstance(token, _FLOW_START) - isinstance(token, _FLOW_END)
        return depth > 0

    def _closing(self, index: int) -> int:
        depth = 0
        for at in range(index, len(self.tokens)):
            depth += isinstance(self.tokens[at], _FLOW_START) - isinstance(self.tokens[at], _FLOW_END)
            if depth == 0:
                return at
        raise _by_hand(self.file, 1, "a list has no end")

    def _last_of_block(self, index: int) -> Any:
        """The last token that stands in the list whose first item begins at a token."""
        depth = 0
        last = self.tokens[index]
        for at in range(index, len(self.tokens)):
            token = self.tokens[at]
            depth += isinstance(token, (*_BLOCK_START, *_FLOW_START))
            depth -= isinstance(token, (pyyaml.BlockEndToken, *_FLOW_END))
            # A list that is not indented ends with the next key of the mapping that it is in.
            if depth < 0 or (depth == 0 and isinstance(token, pyyaml.KeyToken)):
                break
            if not isinstance(token, (pyyaml.BlockEndToken, *_ENDS)):
                last = token
        return last


_FLOW_START = (pyyaml.FlowSequenceStartToken, pyyaml.FlowMappingStartToken)
_FLOW_END = (pyyaml.FlowSequenceEndToken, pyyaml.FlowMappingEndToken)
_BLOCK_START = (pyyaml.BlockSequenceStartToken, pyyaml.BlockMappingStartToken)
_BEFORE = (*_BLOCK_START, pyyaml.AnchorToken, pyyaml.TagToken)
_ENDS = (pyyaml.StreamEndToken, pyyaml.DocumentEndToken, pyyaml.DocumentStartToken)
# Tokens that begin where a value does and are none.
_STRUCTURE = (
    *_BLOCK_START,
    pyyaml.KeyToken,
    pyyaml.ValueToken,
    pyyaml.StreamStartToken,
    pyyaml.DocumentStartToken,
    pyyaml.BlockEndToken,
)


def _flow(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        inner = (f"{key}: {_flow(item)}" for key, item in cast("Mapping[str, Any]", value).items())
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_flow(item) for item in cast('list[Any]', value))}]"
    return scalar(value)
