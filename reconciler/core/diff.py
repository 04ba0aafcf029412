"""Comparing specs: leaf by leaf, three-way against the baseline, under the policy of each field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reconciler.core.change import Cause, FieldChange
from reconciler.core.policy import FieldPolicy, Patterns, Policy
from reconciler.core.values import MISSING, Spec, escape, split_pointer, walk


def equal(left: Any, right: Any) -> bool:
    """Equality of values: numbers by value, booleans never equal to numbers, lists and tuples alike."""
    if left is right:
        return True
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (left != left and right != right)
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool) and left == right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        a, b = cast("Mapping[str, Any]", left), cast("Mapping[str, Any]", right)
        return a.keys() == b.keys() and all(equal(value, b[key]) for key, value in a.items())
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        x, y = cast("Sequence[Any]", left), cast("Sequence[Any]", right)
        return len(x) == len(y) and all(equal(i, j) for i, j in zip(x, y, strict=True))
    return bool(left == right)


def differences(before: Any, after: Any, pointer: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place where two values differ, as `(pointer, before, after)` with `MISSING` for an absent side.

    Maps are compared key by key, lists of equal length item by item, other lists as a whole.
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        left, right = cast("Mapping[str, Any]", before), cast("Mapping[str, Any]", after)
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key, MISSING), right.get(key, MISSING), f"{pointer}/{escape(key)}")
    elif isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        old, new = cast("Sequence[Any]", before), cast("Sequence[Any]", after)
        if len(old) == len(new):
            for index, (one, other) in enumerate(zip(old, new, strict=True)):
                yield from differences(one, other, f"{pointer}/{index}")
        else:
            yield pointer, before, after
    elif before is MISSING and isinstance(after, Mapping) and after:
        for key in sorted(cast("Mapping[str, Any]", after)):
            yield from differences(MISSING, cast("Mapping[str, Any]", after)[key], f"{pointer}/{escape(key)}")
    elif after is MISSING and isinstance(before, Mapping) and before:
        for key in sorted(cast("Mapping[str, Any]", before)):
            yield from differences(cast("Mapping[str, Any]", before)[key], MISSING, f"{pointer}/{escape(key)}")
    elif not equal(before, after):
        yield pointer, before, after


def assign(spec: Any, pointer: str, value: Any) -> Any:
    """A copy of the spec with one place set (or, for `MISSING`, taken out); maps on the way are made."""
    steps = split_pointer(pointer)
    if not steps:
        return value
    head, rest = steps[0], "/".join(escape(step) for step in steps[1:])
    tail = f"/{rest}" if rest else ""
    if isinstance(spec, (list, tuple)):
        items = list(cast("Sequence[Any]", spec))
        if head.isdecimal() and int(head) < len(items):
            items[int(head) : int(head) + 1] = [v for v in [assign(items[int(head)], tail, value)] if v is not MISSING]
        return items
    copy: dict[str, Any] = dict(cast("Mapping[str, Any]", spec)) if isinstance(spec, Mapping) else {}
    if not tail and value is MISSING:
        copy.pop(head, None)
    elif tail and value is MISSING and head not in copy:
        return copy
    else:
        copy[head] = assign(copy.get(head, {}), tail, value)
    return copy


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of comparing one resource three ways.

    Args:
        changes: What a write must change; empty means that the target is as Git wants it.
        drift: Owned fields that no longer read as they were left, whether or not they are written back.
        effective: The desired spec with the fields that are not ours to write taken from the target.
        stale: What was recorded as sent is not what Git wants, though nothing needs to be written.
    """

    changes: tuple[FieldChange, ...]
    drift: tuple[FieldChange, ...]
    effective: Spec
    stale: bool = False


@dataclass(frozen=True, slots=True)
class _Sides:
    """One place of a resource as seen from all sides; `MISSING` where a side has nothing there."""

    desired: Any
    observed: Any
    sent: Any
    answered: Any
    interrupted: Any

    @property
    def owners(self) -> list[Any]:
        """The sides that make a field ours, where they have it."""
        return [s for s in (self.desired, self.sent, self.interrupted) if s is not MISSING]

    def child(self, step: str | int) -> _Sides:
        """The same one step further down."""
        return _Sides(*(_step(side, step) for side in self.all()))

    def all(self) -> tuple[Any, ...]:
        """The five sides in their order."""
        return (self.desired, self.observed, self.sent, self.answered, self.interrupted)

    def keys(self, *, foreign: bool) -> list[str] | None:
        """The keys to go through where this is a map on all sides that matter; None where it must be taken whole."""
        owners = [_mapping(side) for side in self.owners]
        observed = _mapping(self.observed)
        if None in owners or (observed is None and self.observed is not MISSING):
            return None
        keys: set[str] = set()
        for side in (*owners, *((observed,) if foreign else ())):
            keys |= side.keys() if side is not None else set()
        return sorted(keys) or ([] if observed else None)

    def length(self) -> int:
        """The length that all sides have as lists; 0 where they are not lists of one length."""
        present = [side for side in self.all() if side is not MISSING]
        if MISSING in (self.desired, self.observed) or not all(_is_list(side) for side in present):
            return 0
        lengths = {len(cast("Sequence[Any]", side)) for side in present}
        return lengths.pop() if len(lengths) == 1 else 0


def _mapping(side: Any) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", side) if isinstance(side, Mapping) else None


def _step(side: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return side[step] if _is_list(side) else MISSING
    return cast("Mapping[str, Any]", side).get(step, MISSING) if isinstance(side, Mapping) else MISSING


def three_way(
    kind: str,
    desired: Spec,
    observed: Spec,
    sent: Spec | None,
    answered: Spec | None,
    interrupted: Spec | None = None,
    policy: Policy = Policy(),  # noqa: B008  a frozen value
    write_only: Sequence[str] = (),
    *,
    rewrite: bool = False,
) -> Comparison:
    """Compares what Git wants with what is there, knowing what was last sent and what was answered to it.

    Maps are compared key by key, lists item by item where all sides have the same length, anything else as a whole.

    Args:
        sent: The last confirmed spec, or None if nothing was ever recorded.
        answered: The target's report of it.
        interrupted: The spec of a write whose result is unknown: its fields count as ours.
        write_only: Patterns of fields that the target never reports; compared with what was sent alone.
        rewrite: The whole resource will be written, so fields that a rule leaves to others are carried over even
            where Git does not name them.
    """
    walker = _ThreeWay(
        kind, policy, write_only, sent is not None and answered is not None, interrupted is not None, rewrite
    )
    sides = _Sides(
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
        stale=walker.stale and not walker.changes,
    )


def _covers(owner: Any, pointer: str) -> bool:
    """Whether a side has this place, or had a plain value or list at or above it that the target made it from."""
    current = owner
    for step in split_pointer(pointer):
        if not isinstance(current, Mapping):
            return True
        current = cast("Mapping[str, Any]", current).get(step, MISSING)
        if current is MISSING:
            return False
    return True


class _ThreeWay:
    """One walk over all sides of a resource; `node` gives the effective value of a place and collects the rest."""

    def __init__(
        self, kind: str, policy: Policy, write_only: Sequence[str], recorded: bool, interrupted: bool, rewrite: bool
    ) -> None:
        self.kind = kind
        self.policy = policy
        self.hidden = Patterns(write_only)
        self.recorded = recorded
        self.interrupted = interrupted
        self.rewrite = rewrite
        self.changes: list[FieldChange] = []
        self.drift: list[FieldChange] = []
        self.stale = False

    def node(self, pointer: str, sides: _Sides) -> Any:
        keys = sides.keys(foreign=self.rewrite)
        if keys is not None and not self._removable(pointer, sides):
            return self._map(pointer, sides, keys)
        if length := sides.length():
            return [self.node(f"{pointer}/{i}", sides.child(i)) for i in range(length)]
        return self._leaf(pointer, sides)

    def _removable(self, pointer: str, sides: _Sides) -> bool:
        """Whether Git took out a map in which nothing stands that is not ours: it goes as a whole then."""
        if sides.desired is not MISSING or sides.observed is MISSING:
            return False
        below = [place for place, _ in walk(sides.observed)]
        rules = {self.policy.of_field(self.kind, pointer + place) for place in below}
        if rules & {FieldPolicy.IGNORE, FieldPolicy.CREATE_ONLY}:
            return False
        return all(any(_covers(owner, place) for owner in sides.owners) for place in below)

    def _map(self, pointer: str, sides: _Sides, keys: Sequence[str]) -> Any:
        result = dict(_mapping(sides.desired) or {})
        for key in keys:
            inner = self.node(f"{pointer}/{escape(key)}", sides.child(key))
            if inner is MISSING:
                result.pop(key, None)
            else:
                result[key] = inner
        return result if result or sides.desired is not MISSING else MISSING

    def _leaf(self, pointer: str, sides: _Sides) -> Any:
        rule = self.policy.of_field(self.kind, pointer)
        left_alone = rule in (FieldPolicy.IGNORE, FieldPolicy.CREATE_ONLY)
        wanted, now = sides.desired, sides.observed
        if self.hidden.match(self.kind, pointer):
            if not left_alone:
                self._hidden(pointer, sides)
            return wanted
        if left_alone:
            return now if wanted is not MISSING or self.rewrite else MISSING
        if not sides.owners:
            return MISSING
        wanted = self._preserve(pointer, wanted, now)
        git_changed = not equal(sides.sent, sides.desired)
        moved = not equal(self._preserve(pointer, sides.answered, now), now)
        if equal(wanted, now):
            self.stale = self.stale or (git_changed and self.recorded)
            return wanted
        if moved and self.recorded and not self.interrupted and sides.sent is not MISSING:
            self.drift.append(FieldChange(pointer, now, sides.answered, Cause.DRIFT))
            if rule is FieldPolicy.REPORT and not git_changed:
                return now
        if not self.recorded or git_changed:
            self.changes.append(FieldChange(pointer, now, wanted, Cause.PENDING))
        elif moved:
            self.changes.append(FieldChange(pointer, now, wanted, Cause.DRIFT))
        return wanted

    def _hidden(self, pointer: str, sides: _Sides) -> None:
        """A field that cannot be read back: only what was sent, or may have been, tells what stands there."""
        uncertain = self.interrupted and not equal(sides.interrupted, sides.desired)
        if uncertain or not equal(sides.sent, sides.desired):
            self.changes.append(FieldChange(pointer, sides.sent, sides.desired, Cause.PENDING))

    def _preserve(self, pointer: str, wanted: Any, now: Any) -> Any:
        """A list that is written as a whole, with what rules leave to others in items of the same name kept."""
        if not self.policy.rules or not _is_list(wanted) or not _is_list(now):
            return wanted
        theirs = _by_name(now)
        if theirs is None or _by_name(wanted) is None:
            return wanted
        items: list[Any] = []
        for index, item in enumerate(wanted):
            merged = item
            there = theirs.get(item["name"], MISSING)
            if there is not MISSING:
                for below, value, live in differences(item, there, f"{pointer}/{index}"):
                    rule = self.policy.of_field(self.kind, below)
                    if value is not MISSING and rule in (FieldPolicy.IGNORE, FieldPolicy.CREATE_ONLY):
                        merged = assign(merged, below.removeprefix(f"{pointer}/{index}"), live)
            items.append(merged)
        return items


def _by_name(items: Sequence[Any]) -> dict[str, Mapping[str, Any]] | None:
    """The items of a list by their `name`, or None if they are not named, or not uniquely."""
    named: dict[str, Mapping[str, Any]] = {}
    for item in items:
        name = cast("Mapping[str, Any]", item).get("name") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or name in named:
            return None
        named[name] = cast("Mapping[str, Any]", item)
    return named
