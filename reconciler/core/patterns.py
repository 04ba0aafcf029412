"""Patterns of field pointers: `[<Kind>:]<JSON pointer>`, as policies and capabilities name fields.

A step of a pattern is a key, an index, `*` for any one step, `**` for any number of steps (also none), or
`[key=value]` for the items of a list that read so under that key. A pattern speaks of the field it names and of all
below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from reconciler.core.dataclass import dataclass
from reconciler.core.values import escape, split_pointer

# The items of lists that are maps, by their pointers: what `[key=value]` is compared with.
Items: TypeAlias = Mapping[str, Mapping[str, Any]]
NO_ITEMS: Items = MappingProxyType({})
_KEYED = re.compile(r"\[([^=\]]+)=(.*)\]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern, taken apart; make it with `pattern_of`.

    Args:
        kind: The kind it is limited to; empty for all.
        steps: As written, with `~1` and `~0` read as `/` and `~`.
        keyed: Whether a step compares what an item holds.
    """

    kind: str
    steps: tuple[str, ...]
    keyed: bool
    regex: re.Pattern[str]

    def concerns(self, kind: str) -> bool:
        """Whether it speaks of resources of that kind."""
        return not self.kind or self.kind.lower() == kind.lower()

    def matches(self, kind: str, pointer: str, items: Items = NO_ITEMS) -> bool:
        """Whether it speaks of this field or of one above it.

        Args:
            items: What stands in the lists that the pointer goes through.
        """
        if not self.concerns(kind):
            return False
        if not self.keyed:
            return self.regex.match(pointer) is not None
        return _leads(self.steps, split_pointer(pointer), "", items)

    def meets(self, kind: str, place: Pattern) -> bool:
        """Whether there could be a field at the place (a pattern of leaves) that this pattern speaks of."""
        return self.concerns(kind) and place.concerns(kind) and _meet(self.steps, place.steps)

    @property
    def rank(self) -> tuple[int, int, bool, bool]:
        """How narrow it is; of two that speak of one field the narrower one has the higher rank."""
        wild = sum(step in ("*", "**") for step in self.steps)
        return (len(self.steps) - wild, self.steps.count("*"), "**" not in self.steps, bool(self.kind))


@lru_cache(maxsize=8192)
def pattern_of(text: str) -> Pattern:
    """A pattern from its text."""
    kind, colon, pointer = text.partition(":")
    if not colon or "/" in kind:
        kind, pointer = "", text
    steps = tuple(step for step in split_pointer("/" + pointer.removeprefix("/")) if step)
    keyed = any(_KEYED.fullmatch(step) for step in steps)
    spelled = ("(?:/[^/]*)*" if s == "**" else "/[^/]*" if s == "*" else "/" + re.escape(escape(s)) for s in steps)
    return Pattern(kind, steps, keyed, re.compile("".join(spelled) + "(?:/|$)"))


class Patterns:
    """A set of patterns of one meaning, as capabilities declare them (immutable, write-only …)."""

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(pattern_of(pattern) for pattern in patterns)

    def match(self, kind: str, pointer: str) -> bool:
        """Whether one of them speaks of this field or of one above it."""
        return any(pattern.matches(kind, pointer) for pattern in self._patterns)


def items_of(value: Any, pointer: str = "") -> dict[str, Mapping[str, Any]]:
    """The items of all lists in a value that are maps, by their pointers."""
    found: dict[str, Mapping[str, Any]] = {}
    _gather(value, pointer, found)
    return found


def named_pointer(pointer: str, items: Items) -> str:
    """A pointer with `[name=…]` in place of the index of every item that has a name."""
    steps: list[str] = []
    whole = ""
    for step in split_pointer(pointer):
        whole += f"/{escape(step)}"
        name = items.get(whole, {}).get("name")
        steps.append(f"[name={name}]" if isinstance(name, str) else step)
    return "".join(f"/{escape(step)}" for step in steps)


def _gather(value: Any, pointer: str, found: dict[str, Mapping[str, Any]]) -> None:
    for step, inner in _inside(value):
        below = f"{pointer}/{step}"
        if isinstance(inner, Mapping) and not isinstance(value, Mapping):
            found[below] = cast("Mapping[str, Any]", inner)
        _gather(inner, below, found)


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield escape(key), inner
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(cast("Sequence[Any]", value)):
            yield str(index), inner


def _leads(pattern: Sequence[str], steps: Sequence[str], above: str, items: Items) -> bool:
    """Whether the pattern names the place that the steps lead to, or one on the way there."""
    if not pattern:
        return True
    head, rest = pattern[0], pattern[1:]
    if head == "**" and _leads(rest, steps, above, items):
        return True
    if not steps:
        return False
    here = f"{above}/{escape(steps[0])}"
    if head == "**":
        return _leads(pattern, steps[1:], here, items)
    keyed = _KEYED.fullmatch(head)
    if keyed is not None:
        fits = _reads(items.get(here, {}).get(keyed[1]), keyed[2])
    else:
        fits = head in ("*", steps[0])
    return fits and _leads(rest, steps[1:], here, items)


def _meet(pattern: Sequence[str], place: Sequence[str]) -> bool:
    if not pattern:
        return True
    if pattern[0] == "**" and _meet(pattern[1:], place):
        return True
    if not place:
        return False
    if place[0] == "**":
        return _meet(pattern, place[1:]) or _meet(pattern[1:], place)
    if pattern[0] == "**":
        return _meet(pattern, place[1:])
    return ("*" in (pattern[0], place[0]) or pattern[0] == place[0]) and _meet(pattern[1:], place[1:])


def _reads(value: Any, text: str) -> bool:
    """Whether a value is written so in a pattern: text as it is, everything else as JSON."""
    return value == text if isinstance(value, str) else value is not None and json.dumps(value) == text
