"""YAML text to plain values with the place of each, in one walk over the parser's events.

The neighbours: `kinds` says what the values must look like, `load` finds the files. Nothing here knows a kind. Keys are
always text. Tags are refused: they name types to build. Messages never hold the text of a line, which may be a secret.
"""

from __future__ import annotations

import marshal
import re
from typing import Any, cast

import yaml as pyyaml

from reconciler.core.problems import Position, Problem
from reconciler.core.values import escape
from reconciler.manifests.document import COLUMN_BITS, COLUMN_MASK, LIMITS, Document, Limits, Marks, too_large
from reconciler.manifests.plain import PARSER, read_plain
from reconciler.manifests.scalars import SPECIAL, scalar


def parse(data: bytes, file: str, limits: Limits = LIMITS) -> tuple[list[Document], list[Problem]]:
    """The documents of a file and everything that is wrong with it.

    Documents before a syntax error are still given. Never raises, and its cost is bounded by the limits.
    """
    if len(data) > limits.bytes:
        return [], [too_large(file, len(data), limits)]
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        line, column = _end(data[: exc.start].decode())
        message = "this file is not UTF-8 text"
        return [], [Problem("yaml-encoding", message, Position(file, line, column), "save it as UTF-8")]
    directive = _TAG_DIRECTIVE.search(text)
    if directive:  # libyaml compares each with all before it, which takes seconds for a file full of them
        at = Position(file, *_end(text[: directive.end() - 4]))
        return [], [Problem("yaml-tag", "`%TAG` is not allowed here", at, "remove the line")]
    plain = read_plain(data, file, limits)
    return ([plain], []) if plain is not None else _Walk(text, data, file, limits).documents()


def places(data: bytes) -> bytes:
    """The places in a file of one sound document, packed as `Marks` has them."""
    documents, _ = _Walk(data.decode(), data, "", LIMITS).documents()
    return documents[0].marks.packed


def _end(text: str) -> tuple[int, int]:
    """The line and column that follow a text."""
    line = text.count("\n")
    return line + 1, len(text) - text.rfind("\n")


class _StopError(Exception):
    """A limit was passed: what follows in the file is not looked at."""


_IN_PROGRESS = object()
_MERGE = object()


class _Walk:
    """The walk over one file's events; `nodes` counts over the whole file, anchors live as long as their document."""

    def __init__(self, text: str, data: bytes, file: str, limits: Limits) -> None:
        self.text = text
        self.file = file
        self.limits = limits
        self.parser: Any = PARSER(data)
        self.next: Any = self.parser.get_event
        self.problems: list[Problem] = []
        self.nodes = 0
        self.places: dict[str, tuple[int, int]] = {}
        self.aliases: dict[str, str] = {}
        self.anchors: dict[str, tuple[Any, int, str]] = {}

    def documents(self) -> tuple[list[Document], list[Problem]]:
        found: list[Document] = []
        try:
            self.next()
            while True:
                event = self.next()
                if type(event) is not pyyaml.DocumentStartEvent:
                    break
                if len(found) == self.limits.documents:
                    self._limit(event, f"more than {self.limits.documents} documents in one file")
                found.append(self._document(event))
        except _StopError:
            pass
        except pyyaml.YAMLError as exc:
            self.problems.append(self._syntax(exc))
        return found, self.problems

    def _document(self, start: Any) -> Document:
        before = len(self.problems)
        self.places, self.aliases, self.anchors = {}, {}, {}
        event = self.next()
        mark = event.start_mark
        here = ((mark.line + 1) << COLUMN_BITS) + mark.column + 1
        self.places[""] = (here, here)
        value = self._value(event, "", 1)
        self.next()
        packed = marshal.dumps((self.places, self.aliases))
        marks = Marks(self.file, mark.line + 1, mark.column + 1, packed)
        return Document(value, marks, len(self.problems) == before)

    def _value(self, event: Any, pointer: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            self._limit(event, f"more than {self.limits.nodes} keys and values in one file, aliases counted in full")
        kind = type(cast("object", event))
        if kind is pyyaml.AliasEvent:
            return self._alias(event, pointer)
        if event.tag is not None:
            self._problem("yaml-tag", "tags (`!…`) are not allowed here", event, "remove the tag")
        anchor = event.anchor
        if kind is pyyaml.ScalarEvent:
            value = event.value
            if event.implicit[0] and (not value or value[0] in SPECIAL):
                value = self._scalar(value, event)
            if anchor is not None:
                self.anchors[anchor] = (value, 1, pointer)
            return value
        if depth > self.limits.depth:
            self._limit(event, f"more than {self.limits.depth} levels of nesting")
        if anchor is None:
            return self._mapping(pointer, depth) if kind is pyyaml.MappingStartEvent else self._list(pointer, depth)
        before = self.nodes
        self.anchors[anchor] = (_IN_PROGRESS, 0, pointer)
        value = self._mapping(pointer, depth) if kind is pyyaml.MappingStartEvent else self._list(pointer, depth)
        self.anchors[anchor] = (value, self.nodes - before + 1, pointer)
        return value

    def _mapping(self, pointer: str, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        merges: list[tuple[Any, str]] = []
        places, take, end = self.places, self.next, pyyaml.MappingEndEvent
        while True:
            event = take()
            if type(event) is end:
                break
            key = self._key(event, depth)
            mark = event.start_mark
            at_key = ((mark.line + 1) << COLUMN_BITS) + mark.column + 1
            inner = take()
            if key is _MERGE:
                merges.append(self._merged(inner, f"{pointer}/<<", depth))
                continue
            where = f"{pointer}/{escape(key) if '/' in key or '~' in key else key}"
            mark = inner.start_mark
            if key in value:
                first = places[where][0]
                line, column = first >> COLUMN_BITS, first & COLUMN_MASK
                message = f"the key {_shown(key)} stands here twice; first at line {line}, column {column}"
                self._problem("yaml-duplicate-key", message, event, "remove one of the two")
                self._value(inner, f"{where}~duplicate", depth + 1)
                continue
            places[where] = (at_key, ((mark.line + 1) << COLUMN_BITS) + mark.column + 1)
            value[key] = self._value(inner, where, depth + 1)
        for merged, origin in merges:
            self._merge(value, pointer, merged, origin)
        return value

    def _list(self, pointer: str, depth: int) -> list[Any]:
        value: list[Any] = []
        places, take, end = self.places, self.next, pyyaml.SequenceEndEvent
        while True:
            event = take()
            if type(event) is end:
                return value
            where = f"{pointer}/{len(value)}"
            mark = event.start_mark
            here = ((mark.line + 1) << COLUMN_BITS) + mark.column + 1
            places[where] = (here, here)
            value.append(self._value(event, where, depth + 1))

    def _key(self, event: Any, depth: int) -> Any:
        self.nodes += 1
        if type(event) is pyyaml.ScalarEvent:
            if event.tag is not None:
                self._problem("yaml-tag", "tags (`!…`) are not allowed here", event, "remove the tag")
            if event.value == "<<" and event.implicit[0]:
                return _MERGE
            if event.anchor is not None:
                self.anchors[event.anchor] = (event.value, 1, "")
            return event.value
        self._problem("yaml-key", "a key must be plain text", event, "write it as text, in quotes if need be")
        if type(event) is not pyyaml.AliasEvent:
            self._value(event, "/~key", depth + 1)
        return f"~{self.nodes}"

    def _merged(self, event: Any, pointer: str, depth: int) -> tuple[Any, str]:
        mark = event.start_mark
        here = ((mark.line + 1) << COLUMN_BITS) + mark.column + 1
        self.places[pointer] = (here, here)
        merged = self._value(event, pointer, depth + 1)
        parts: list[Any] = cast("list[Any]", merged) if isinstance(merged, list) else [merged]
        if not all(isinstance(part, dict) for part in parts):
            self._problem("yaml-merge", "`<<` takes a mapping or a list of mappings", event, "write `<<: *name`")
            return {}, pointer
        return cast("Any", merged), pointer

    def _merge(self, value: dict[str, Any], pointer: str, merged: Any, origin: str) -> None:
        parts: list[tuple[dict[str, Any], str]] = (
            [(part, f"{origin}/{index}") for index, part in enumerate(cast("list[Any]", merged))]
            if isinstance(merged, list)
            else [(merged, origin)]
        )
        for part, where in parts:
            for key, inner in part.items():
                if key not in value:
                    value[key] = inner
                    self.aliases[f"{pointer}/{escape(key)}"] = f"{where}/{escape(key)}"

    def _alias(self, event: Any, pointer: str) -> Any:
        known = self.anchors.get(event.anchor)
        if known is None:
            self._problem("yaml-alias", "this alias has no anchor before it", event, "define `&name` first")
            return None
        value, nodes, origin = known
        if value is _IN_PROGRESS:
            self._problem("yaml-alias", "this alias stands inside of its own anchor", event, "write the value out")
            return None
        self.nodes += nodes - 1
        if self.nodes > self.limits.nodes:
            self._limit(event, f"more than {self.limits.nodes} keys and values in one file, aliases counted in full")
        if isinstance(value, (dict, list)):
            self.aliases[pointer] = origin
        return cast("Any", value)

    def _scalar(self, text: str, event: Any) -> Any:
        try:
            return scalar(text)
        except OverflowError:
            self._problem("yaml-number", "this number is out of range", event, "if it is text, put it in quotes")
            return 0

    def _problem(self, code: str, message: str, event: Any, hint: str) -> None:
        mark = event.start_mark
        if len(self.problems) >= 100:
            raise _StopError
        self.problems.append(Problem(code, message, Position(self.file, mark.line + 1, mark.column + 1), hint))

    def _limit(self, event: Any, what: str) -> None:
        self._problem("yaml-limit", f"{what}: nothing from here on is read", event, "split it, or use fewer aliases")
        raise _StopError

    def _syntax(self, exc: Exception) -> Problem:
        if isinstance(exc, pyyaml.reader.ReaderError):
            found = _FORBIDDEN.search(self.text)
            line, column = _end(self.text[: found.start()]) if found else (0, 0)
            message = "this character is not allowed in YAML"
            return Problem(
                "yaml-character", message, Position(self.file, line, column), "remove it, or escape it in double quotes"
            )
        mark: Any = getattr(exc, "problem_mark", None)
        problem = str(getattr(exc, "problem", "") or "this is not YAML")
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        at = Position(self.file, line, column)
        if "tab character" in problem or (
            "cannot start any token" in problem and self._character(line, column) == "\t"
        ):
            return Problem("yaml-tab", "a tab where only spaces may indent", at, "indent with spaces")
        message, hint = _SYNTAX.get(problem, (problem, ""))
        begun: Any = getattr(exc, "context_mark", None)
        if begun and (begun.line, begun.column) != (mark.line, mark.column):
            message += f"; what it belongs to begins at line {begun.line + 1}, column {begun.column + 1}"
        return Problem("yaml-syntax", message, at, hint)

    def _character(self, line: int, column: int) -> str:
        lines = self.text.split("\n", line)
        return lines[line - 1][column - 1 : column] if 0 < line <= len(lines) else ""


def _shown(key: str) -> str:
    return f"'{key}'" if _HARMLESS.fullmatch(key) else "(not shown)"


_HARMLESS = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}")
_TAG_DIRECTIVE = re.compile("(^|[\ufeff\r\n\x85\u2028\u2029])%TAG")
# What YAML 1.1 §5.1 leaves out of its printable characters.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# libyaml's words for what people get wrong most, in ours.
_SYNTAX: dict[str, tuple[str, str]] = {
    "mapping values are not allowed in this context": (
        "a ':' that makes a key cannot stand here",
        "check the indentation, and put text that holds ': ' in quotes",
    ),
    "could not find expected ':'": ("a key without ':' after it", "write `key: value`"),
    "did not find expected key": ("a key was expected here", "check the indentation and the quotes"),
    "did not find expected '-' indicator": (
        "a '-' was expected here",
        "give all items of the list the same indentation",
    ),
    "did not find expected ',' or ']'": ("a ',' or ']' was expected here", "close the list with ']'"),
    "did not find expected ',' or '}'": ("a ',' or '}' was expected here", "close the mapping with '}'"),
    "did not find expected node content": ("a value was expected here", "close what was opened with '[' or '{'"),
    "found unexpected end of stream": ("the file ends inside of a quoted text", "close the quotes"),
    "found character that cannot start any token": (
        "no value can begin with this character",
        "put the text in quotes",
    ),
}
