"""What may be done to a resource: pruning, protection, and who wins field by field when reality differs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache


class FieldPolicy(StrEnum):
    """What a difference in a field means.

    heal: write it back. report: say so, leave it. ignore: not ours. createOnly: ours at creation, theirs afterwards.
    """

    HEAL = "heal"
    REPORT = "report"
    IGNORE = "ignore"
    CREATE_ONLY = "createOnly"


@dataclass(frozen=True, slots=True)
class DriftRule:
    """A policy for the fields a pattern names: `[<Kind>:]<JSON pointer>`, `*` for one step, `**` for any number."""

    pattern: str
    policy: FieldPolicy

    def matches(self, kind: str, pointer: str) -> bool:
        """Whether the rule speaks of this field or of one above it."""
        only, regex = _compile(self.pattern)
        return (not only or only.lower() == kind.lower()) and regex.match(pointer) is not None


@lru_cache(maxsize=4096)
def _compile(pattern: str) -> tuple[str, re.Pattern[str]]:
    kind, colon, pointer = pattern.partition(":")
    if not colon or kind.startswith("/"):
        kind, pointer = "", pattern
    wanted = [step for step in pointer.removeprefix("/").split("/") if step] if pointer.strip("/") else []
    steps = ["(?:/[^/]*)*" if s == "**" else "/[^/]*" if s == "*" else "/" + re.escape(s) for s in wanted]
    return kind, re.compile("".join(steps) + "(?:/|$)")


class Patterns:
    """A set of field patterns of one meaning, as capabilities declare them (immutable, write-only …)."""

    __slots__ = ("_rules",)

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules = tuple(DriftRule(pattern, FieldPolicy.IGNORE) for pattern in patterns)

    def match(self, kind: str, pointer: str) -> bool:
        """Whether one of them speaks of this field or of one above it."""
        return any(rule.matches(kind, pointer) for rule in self._rules)


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a service, merged from defaults, its target's and its own.

    Args:
        prune: What Git no longer wants is deleted.
        protect: Never deleted; recorded at the target, so lifting it takes one merge and deleting takes the next.
        suspend: Nothing is written; drift is still reported.
        adopt: Take over a resource of that name that is not ours.
        drift: What holds for fields that no rule names.
        rules: The last matching rule wins.
    """

    prune: bool = True
    protect: bool = False
    suspend: bool = False
    adopt: bool = False
    drift: FieldPolicy = FieldPolicy.HEAL
    rules: tuple[DriftRule, ...] = field(default=())

    def of_field(self, kind: str, pointer: str) -> FieldPolicy:
        """The policy of one field, named by its JSON pointer in the resource's normal form."""
        for rule in reversed(self.rules):
            if rule.matches(kind, pointer):
                return rule.policy
        return self.drift
