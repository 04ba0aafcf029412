"""What may be done to a resource: pruning, protection, and who wins field by field when reality differs."""

from __future__ import annotations

from enum import StrEnum

from reconciler.core.dataclass import dataclass, field
from reconciler.core.patterns import NO_ITEMS, Items, pattern_of
from reconciler.core.problems import Position


class FieldPolicy(StrEnum):
    """What a difference in a field means.

    heal: write it back. report: say so, leave it. ignore: not ours. createOnly: ours at creation, theirs afterwards.
    """

    HEAL = "heal"
    REPORT = "report"
    IGNORE = "ignore"
    CREATE_ONLY = "createOnly"

    @property
    def leaves(self) -> bool:
        """Whether the field is left to others, compared with nothing and kept as it is in all that is written."""
        return self in (FieldPolicy.IGNORE, FieldPolicy.CREATE_ONLY)


@dataclass(frozen=True, slots=True)
class DriftRule:
    """A policy for the fields that a pattern names (`core.patterns`).

    Args:
        origin: Who says so, in words ("service", "target laptop", "defaults").
        position: Where; two rules that differ in nothing else are the same rule.
    """

    pattern: str
    policy: FieldPolicy
    origin: str = ""
    position: Position | None = field(default=None, compare=False)

    def matches(self, kind: str, pointer: str, items: Items = NO_ITEMS) -> bool:
        """Whether the rule speaks of this field or of one above it."""
        return pattern_of(self.pattern).matches(kind, pointer, items)


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
        origin: Who says what `drift` is, in words; empty where nobody does.
    """

    prune: bool = True
    protect: bool = False
    suspend: bool = False
    adopt: bool = False
    drift: FieldPolicy = FieldPolicy.HEAL
    rules: tuple[DriftRule, ...] = field(default=())
    origin: str = ""

    def rule_of(self, kind: str, pointer: str, items: Items = NO_ITEMS) -> DriftRule | None:
        """The rule that decides about a field, named by its JSON pointer in the resource's normal form."""
        for rule in reversed(self.rules):
            if rule.matches(kind, pointer, items):
                return rule
        return None

    def of_field(self, kind: str, pointer: str, items: Items = NO_ITEMS) -> FieldPolicy:
        """The policy of one field."""
        rule = self.rule_of(kind, pointer, items)
        return rule.policy if rule is not None else self.drift
