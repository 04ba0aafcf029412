"""A configuration file of another tool: what stands in it, key by key, with the place of each.

Every key is asked for by what it should be; what was never asked for is left over, and somebody has to say why.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Iterator, Mapping
from typing import Any, cast

from reconciler.core.dataclass import dataclass, field
from reconciler.core.problems import Position, Problem
from reconciler.core.values import escape
from reconciler.manifests.document import Document, Marks
from reconciler.manifests.validate import did_you_mean
from reconciler.manifests.yaml import parse

_NO_PLACES = marshal.dumps(({}, {}))
# What YAML 1.1 reads as a boolean, and so did the tool; our parser leaves the words as they are.
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Note:
    """Something of the file that the manifests do not have, or not yet.

    Args:
        key: As it is called there: `containerResourceRequirements.cpu`.
        said: Why, or what is to be done.
        todo: Somebody has to do it before the service is what it was.
    """

    key: str
    said: str
    position: Position | None = None
    todo: bool = False


@dataclass(slots=True)
class Findings:
    """What comes out besides documents."""

    problems: list[Problem] = field(default_factory=list[Problem])
    notes: list[Note] = field(default_factory=list[Note])


def read(data: bytes, file: str, findings: Findings) -> Reader | None:
    """A file in JSON or YAML; None, with a problem, if it holds no single mapping."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    documents, problems = parse(data, file)
    if problems:
        # JSON may be indented with tabs and may repeat keys, which is not YAML as we read it.
        try:
            documents, problems = [Document(json.loads(data), Marks(file, 0, 0, _NO_PLACES))], []
        except ValueError:
            findings.problems += problems
            return None
    value = cast("object", documents[0].value) if len(documents) == 1 else None
    if not isinstance(value, dict):
        message = "this file holds no single mapping of keys to values"
        findings.problems.append(Problem("not-a-configuration", message, Position(file), "is it the right file?"))
        return None
    return Reader(cast("dict[str, Any]", value), documents[0].marks, findings)


class Reader:
    """One mapping of the file. A key that is null counts as not there.

    Args:
        pointer: Where in the file it stands.
        name: What it is called in notes.
    """

    def __init__(
        self, value: Mapping[str, Any], marks: Marks, findings: Findings, pointer: str = "", name: str = ""
    ) -> None:
        self._value = value
        self._marks = marks
        self._findings = findings
        self._pointer = pointer
        self._name = name
        self._asked: set[str] = set()

    def at(self, key: str = "") -> Position:
        """Where a value stands."""
        return self._marks.at(f"{self._pointer}/{escape(key)}" if key else self._pointer)

    def called(self, key: str) -> str:
        """A key's whole name."""
        return f"{self._name}.{key}" if self._name else key

    def has(self, key: str) -> bool:
        """Whether a key is there."""
        return self._value.get(key) is not None

    def text(self, key: str) -> str | None:
        """A text."""
        return self._of(key, str, "text")

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self._value.get(key)
        if isinstance(value, str) and value.lower() in _TRUTH:
            self._asked.add(key)
            return _TRUTH[value.lower()]
        return self._of(key, bool, "true or false")

    def number(self, key: str) -> int | float | None:
        """A number; a whole one where it is that."""
        value = self._of(key, (int, float), "a number")
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def whole(self, key: str) -> int | None:
        """A whole number."""
        value = self.number(key)
        if isinstance(value, float):
            self.wrong(key, "must be a whole number")
            return None
        return value

    def mapping(self, key: str) -> Reader | None:
        """Another mapping."""
        value = self._of(key, dict, "a mapping")
        if value is None:
            return None
        return Reader(value, self._marks, self._findings, f"{self._pointer}/{escape(key)}", self.called(key))

    def items(self, key: str) -> Iterator[Reader]:
        """The mappings of a list."""
        for index, value in enumerate(cast("list[Any]", self._of(key, list, "a list") or [])):
            pointer, name = f"{self._pointer}/{escape(key)}/{index}", f"{self.called(key)}[{index}]"
            if isinstance(value, dict):
                yield Reader(cast("dict[str, Any]", value), self._marks, self._findings, pointer, name)
            else:
                self._findings.problems.append(_wrong(name, "must be a mapping", self._marks.at(pointer)))

    def plain(self, key: str) -> dict[str, Any] | None:
        """A mapping as it is, whatever is in it; also one that stands there as JSON in a text."""
        value = self._value.get(key)
        if isinstance(value, str):
            self._asked.add(key)
            try:
                value = json.loads(value)
            except ValueError:
                value = None
            if isinstance(value, dict):
                return cast("dict[str, Any]", value)
            self.wrong(key, "must be a mapping, or one as JSON")
            return None
        return self._of(key, dict, "a mapping")

    def texts(self, key: str) -> dict[str, str] | None:
        """A mapping of names to texts; numbers and booleans are written out, as the tool did."""
        value = self._of(key, dict, "a mapping")
        if value is None:
            return None
        found: dict[str, str] = {}
        for name, written in cast("dict[str, Any]", value).items():
            inner = _unwrapped(written)
            if isinstance(inner, (dict, list)) or inner is None:
                at = self._marks.at(f"{self._pointer}/{escape(key)}/{escape(name)}")
                self._findings.problems.append(_wrong(f"{self.called(key)}.{name}", "must be text", at))
                continue
            found[name] = inner if isinstance(inner, str) else json.dumps(inner)
        return found

    def note(self, key: str, said: str, *, todo: bool = False) -> None:
        """Says why a key is not in the manifests; the key then counts as dealt with."""
        self._asked.add(key)
        self._findings.notes.append(Note(self.called(key), said, self.at(key), todo))

    def skip(self, *keys: str) -> None:
        """Leaves keys out without a word."""
        self._asked.update(keys)

    def unknown(self, key: str, known: tuple[str, ...] = ()) -> None:
        """Says that a key means nothing to Azure ML, as far as we know, with what was probably meant."""
        asked = [name for name in (*self._asked, *known) if name not in self._value]
        near = did_you_mean(key, asked)
        self.note(key, f"Azure ML does not know this key{f': {near}' if near else ''}")

    def is_one_of(self, key: str, values: tuple[object, ...]) -> bool:
        """Whether a value is one of some, true and 1 being different ones."""
        return any(self._value.get(key) == value and type(self._value.get(key)) is type(value) for value in values)

    def is_empty(self, key: str) -> bool:
        """Whether nothing is said at a key: an empty text or list, or a mapping of such and of switches."""
        return _empty(self._value.get(key))

    def wrong(self, key: str, said: str, hint: str = "", code: str = "wrong-type") -> None:
        """Notes a problem with a key."""
        self._findings.problems.append(_wrong(self.called(key), said, self.at(key), hint, code))

    def left(self) -> Iterator[str]:
        """Keys that are there and were not asked for."""
        return (key for key, value in self._value.items() if value is not None and key not in self._asked)

    def _of(self, key: str, kind: Any, words: str) -> Any:
        self._asked.add(key)
        value = self._value.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.wrong(key, f"must be {words}")
            return None
        return value


def _unwrapped(value: Any) -> Any:
    """A variable's value, also where it is written as IoT Edge has it: `{"value": …}`."""
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return found["value"] if set(found) == {"value"} else found
    return value


def _empty(value: Any) -> bool:
    if isinstance(value, Mapping):
        inside = cast("Mapping[str, Any]", value).values()
        return all(isinstance(inner, bool) or _empty(inner) for inner in inside)
    return value is None or value == "" or value == []


def _wrong(name: str, said: str, at: Position, hint: str = "", code: str = "wrong-type") -> Problem:
    return Problem(code, f"`{name}` {said}", at, hint)
