"""Comparing a resource three ways against its baseline, under the policy of each field.

One walk gives what a write must change and what it must carry along, so that a policy which leaves a field to others
holds for the comparison and for all that is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.core.change import Carried, Cause, DriftedField, FieldChange
from reconciler.core.dataclass import dataclass
from reconciler.core.diff import differences, equal
from reconciler.core.patterns import Patterns, items_of, pattern_of
from reconciler.core.policy import FieldPolicy, Policy
from reconciler.core.sides import Sides, by_name, covers, mapping
from reconciler.core.values import MISSING, Spec, escape, walk


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of comparing one resource three ways.

    Args:
        changes: What a write must change; empty means that the target is as Git wants it.
        drift: Owned fields that no longer read as they were left, whether or not they are written back.
        effective: The whole resource as a write leaves it: what Git wants, with the live values of all fields that
            policies leave to others.
        carried: These values, where Git has others or none.
        stale: What was recorded as sent is not what Git wants, though nothing needs to be written.
    """

    changes: tuple[FieldChange, ...]
    drift: tuple[DriftedField, ...]
    effective: Spec
    carried: tuple[Carried, ...] = ()
    stale: bool = False


def three_way(
    kind: str,
    desired: Spec,
    observed: Spec,
    sent: Spec | None,
    answered: Spec | None,
    interrupted: Spec | None = None,
    policy: Policy = Policy(),  # noqa: B008  a frozen value
    write_only: Sequence[str] = (),
    closed: Sequence[str] = (),
    *,
    anew: bool = False,
) -> Comparison:
    """Compares what Git wants with what is there, knowing what was last sent and what was answered to it.

    Maps are compared key by key, lists of items with names of their own by these names, other lists item by item
    where all sides have the same length, anything else as a whole.

    Args:
        sent: The last confirmed spec, or None if nothing was ever recorded.
        answered: The target's report of it.
        interrupted: The spec of a write whose result is unknown: its fields count as ours.
        write_only: Patterns of fields that the target never reports; compared with what was sent alone.
        closed: Patterns of maps that are ours as a whole.
        anew: The resource will be taken away and made again, which is a creation for `createOnly`.
    """
    walker = _ThreeWay(kind, policy, write_only, closed)
    walker.recorded = sent is not None and answered is not None
    walker.interrupted = interrupted is not None
    walker.anew = anew
    sides = Sides(
        desired,
        observed,
        sent if sent is not None else {},
        answered if answered is not None else {},
        interrupted if interrupted is not None else {},
    )
    effective = walker.node("", sides)
    return Comparison(
        tuple(walker.changes),
        tuple(walker.drift),
        desired if equal(effective, desired) else effective,
        tuple(walker.carried),
        stale=walker.stale and not walker.changes,
    )


class _ThreeWay:
    """One walk over all sides of a resource; `node` gives the effective value of a place and collects the rest."""

    def __init__(self, kind: str, policy: Policy, write_only: Sequence[str], closed: Sequence[str]) -> None:
        self.kind = kind
        self.policy = policy
        self.hidden = Patterns(write_only)
        self.closed = Patterns(closed) if closed else None
        self.recorded = self.interrupted = self.anew = False
        self.leaving = any(rule.policy.leaves for rule in policy.rules)
        self.keyed = any(pattern_of(rule.pattern).keyed for rule in policy.rules)
        self.items: dict[str, Mapping[str, Any]] = {}
        self.changes: list[FieldChange] = []
        self.drift: list[DriftedField] = []
        self.carried: list[Carried] = []
        self.stale = False

    def node(self, pointer: str, sides: Sides) -> Any:
        """What a write leaves at a place."""
        keys = sides.keys(foreign=self.leaving or self._is_closed(pointer))
        if keys is not None and not self._removable(pointer, sides):
            return self._map(pointer, sides, keys)
        named = _Named.of(self, pointer, sides)
        if named is not None:
            return self._named(pointer, sides, named)
        if length := sides.length():
            return [self._item(f"{pointer}/{i}", sides.child(i)) for i in range(length)]
        return self._leaf(pointer, sides)

    def _is_closed(self, pointer: str) -> bool:
        return self.closed is not None and self.closed.match(self.kind, pointer)

    def policy_of(self, pointer: str) -> FieldPolicy:
        """Of a place that was reached, or is about to be."""
        return self.policy.of_field(self.kind, pointer, self.items)

    def _removable(self, pointer: str, sides: Sides) -> bool:
        """Whether Git took out a map in which nothing stands that is not ours: it goes as a whole then."""
        if sides.desired is not MISSING or sides.observed is MISSING:
            return False
        if self.keyed:
            self.items.update(items_of(sides.observed, pointer))
        below = [place for place, _ in walk(sides.observed)]
        if any(self.policy_of(pointer + place).leaves for place in below):
            return False
        return all(any(covers(owner, place) for owner in sides.owners) for place in below)

    def _map(self, pointer: str, sides: Sides, keys: Sequence[str]) -> Any:
        result = dict(mapping(sides.desired) or {})
        for key in keys:
            inner = self.node(f"{pointer}/{escape(key)}", sides.child(key))
            if inner is MISSING:
                result.pop(key, None)
            else:
                result[key] = inner
        return result if result or sides.desired is not MISSING else MISSING

    def _item(self, pointer: str, sides: Sides) -> Any:
        item = mapping(sides.desired) or mapping(sides.observed)
        if self.keyed and item is not None:
            self.items[pointer] = item
        return self.node(pointer, sides)

    def _named(self, pointer: str, sides: Sides, named: _Named) -> Any:
        """A list by the names of its items: which there are and in what order is one field, each item others."""
        rule = self.policy_of(pointer)
        git_changed = named.of_git != named.sent_names
        moved = named.answered_names != named.of_target
        certain = self.recorded and (not self.interrupted or named.interrupted_names == named.sent_names)
        left = self.recorded and not git_changed and (not moved or (certain and rule is FieldPolicy.REPORT))
        order = list(named.now) if left else named.order()
        changes, self.changes = self.changes, []
        result = [self._named_item(f"{pointer}/{i}", name, named) for i, name in enumerate(order)]
        inner, self.changes = self.changes, changes
        drifted = moved and certain and named.of_git != named.of_target
        if drifted:
            self.drift.append(
                DriftedField(pointer, sides.answered, sides.observed, sides.desired, rule, conflict=git_changed)
            )
        if order == list(named.now):
            self.changes += inner
            self.stale = self.stale or (git_changed and self.recorded)
            return result if result or sides.desired is not MISSING else MISSING
        causes = {change.cause for change in inner}
        pending = git_changed or not self.recorded or causes & {Cause.PENDING, Cause.CONFLICT}
        cause = Cause.CONFLICT if git_changed and drifted else Cause.PENDING if pending else Cause.DRIFT
        before = sides.answered if cause is Cause.CONFLICT else MISSING
        self.changes.append(FieldChange(pointer, sides.observed, result, cause, before))
        return result

    def _named_item(self, pointer: str, name: str, named: _Named) -> Any:
        only = named.only(name)
        if only is None:
            return self._item(pointer, named.sides(name))
        if name in named.alone:
            self.carried.append(Carried(pointer, only))
        return only

    def _leaf(self, pointer: str, sides: Sides) -> Any:
        rule = self.policy.rule_of(self.kind, pointer, self.items)
        policy = rule.policy if rule is not None else self.policy.drift
        wanted, now = sides.desired, sides.observed
        if self.hidden.match(self.kind, pointer):
            if not policy.leaves:
                self._hidden(pointer, sides)
            return wanted
        ours = bool(sides.owners) or self._is_closed(pointer)
        if policy.leaves:
            return self._left_alone(pointer, sides, policy, ours=ours, named=rule is not None)
        if not ours:
            return MISSING
        git_changed = not equal(sides.sent, wanted)
        if equal(wanted, now):
            self.stale = self.stale or (git_changed and self.recorded)
            return wanted
        moved = self._moved(pointer, sides)
        certain = not self.interrupted or equal(sides.interrupted, sides.sent)
        # What is new in Git, and was there already, was not ours to drift.
        drifted = moved and certain and self.recorded and (sides.sent is not MISSING or wanted is MISSING)
        if drifted:
            self.drift.append(DriftedField(pointer, sides.answered, now, wanted, policy, conflict=git_changed))
            if policy is FieldPolicy.REPORT and not git_changed:
                return now
        if drifted and git_changed:
            self.changes.append(FieldChange(pointer, now, wanted, Cause.CONFLICT, sides.answered))
        elif not self.recorded or git_changed:
            self.changes.append(FieldChange(pointer, now, wanted, Cause.PENDING))
        elif moved:
            self.changes.append(FieldChange(pointer, now, wanted, Cause.DRIFT))
        return wanted

    def _moved(self, pointer: str, sides: Sides) -> bool:
        """Whether the place reads other than it was answered, in anything that is not left to others."""
        if not self.leaving:
            return not equal(sides.answered, sides.observed)
        if self.keyed:
            self.items.update(items_of(sides.observed, pointer))
        places = differences(sides.answered, sides.observed, pointer)
        return any(not self.policy_of(place).leaves for place, _, _ in places)

    def _left_alone(self, pointer: str, sides: Sides, policy: FieldPolicy, *, ours: bool, named: bool) -> Any:
        """A field that is others': as it is there, whether or not Git names it.

        Args:
            ours: It would be ours if it were not left to others.
            named: A rule speaks of it. What the default alone leaves to others is carried along only where it was
                ours once, or else all that a target fills in by itself would be written.
        """
        wanted, now = sides.desired, sides.observed
        if self.anew and policy is FieldPolicy.CREATE_ONLY:
            if sides.owners and not equal(wanted, now):
                self.changes.append(FieldChange(pointer, now, wanted, Cause.PENDING))
            return wanted
        if not ours and not named:
            return MISSING
        if not equal(wanted, now):
            self.carried.append(Carried(pointer, now, wanted))
        return now

    def _hidden(self, pointer: str, sides: Sides) -> None:
        """A field that cannot be read back: only what was sent, or may have been, tells what stands there."""
        uncertain = self.interrupted and not equal(sides.interrupted, sides.desired)
        if uncertain or not equal(sides.sent, sides.desired):
            self.changes.append(FieldChange(pointer, sides.sent, sides.desired, Cause.PENDING))


class _Named:
    """A list whose items have names on all sides, and which of its items are left to others as wholes."""

    def __init__(self, walker: _ThreeWay, pointer: str, sides: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
        self._walker = walker
        self._pointer = pointer
        self.wanted, self.now, self._sent, self._answered, self._interrupted = sides
        self.alone = {name for name in {*self.wanted, *self.now} if self._left_alone(name)}

    @classmethod
    def of(cls, walker: _ThreeWay, pointer: str, sides: Sides) -> _Named | None:
        """The list, or None where it is to be compared by places, or as a whole."""
        found = [by_name(side) for side in sides.all()]
        named = [side for side in found if side is not None]
        if len(named) < len(found) or not sides.owners or sides.observed is MISSING:
            return None
        made = cls(walker, pointer, named)
        if made.alone & made.now.keys():
            return made
        renamed = sides.length() and made.wanted.keys() != made.now.keys()
        return None if sides.desired is MISSING or renamed else made

    def _left_alone(self, name: str) -> bool:
        walker = self._walker
        if not walker.leaving and not walker.policy.drift.leaves:
            return False
        at = [*(self.now if name in self.now else self.wanted)].index(name)
        pointer = f"{self._pointer}/{at}"
        item = self.now.get(name) or self.wanted[name]
        return walker.policy.of_field(walker.kind, pointer, {**walker.items, pointer: item}).leaves

    def _ours(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self.alone]

    @property
    def of_git(self) -> list[str]:
        """The names that Git wants, of the items that are not left to others."""
        return self._ours(self.wanted)

    @property
    def of_target(self) -> list[str]:
        """Those that are there."""
        return self._ours(self.now)

    @property
    def sent_names(self) -> list[str]:
        """Those that were last sent."""
        return self._ours(self._sent)

    @property
    def answered_names(self) -> list[str]:
        """Those that were answered."""
        return self._ours(self._answered)

    @property
    def interrupted_names(self) -> list[str]:
        """Those that a write of unknown result was to make."""
        return self._ours(self._interrupted)

    def order(self) -> list[str]:
        """What Git wants in its order, with what is others' after the item that it stands after."""
        order = self.of_git
        before: str | None = None
        for name in self.now:
            if name in self.alone:
                order.insert(order.index(before) + 1 if before is not None else 0, name)
                before = name
            elif name in order:
                before = name
        return order

    def only(self, name: str) -> Mapping[str, Any] | None:
        """An item that only Git or only the target has, as it is there; None for one that both have."""
        if name in self.wanted and name in self.now:
            return None
        return self.now.get(name) or self.wanted[name]

    def sides(self, name: str) -> Sides:
        """The item of that name on all sides."""
        everywhere = (self.wanted, self.now, self._sent, self._answered, self._interrupted)
        return Sides(*(side.get(name, MISSING) for side in everywhere))
