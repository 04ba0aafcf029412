"""Comparing specs: leaf by leaf, three-way against the baseline, under the policy of each field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reconciler.core.change import Cause, FieldChange
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.values import MISSING, Spec, escape, lookup, split_pointer


def equal(left: Any, right: Any) -> bool:
    """Equality of values: numbers by value, booleans never equal to numbers, lists and tuples alike."""
    if left is right:
        return True
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
        if head.isdigit() and int(head) < len(items):
            items[int(head)] = assign(items[int(head)], tail, value)
        return items
    copy: dict[str, Any] = dict(cast("Mapping[str, Any]", spec)) if isinstance(spec, Mapping) else {}
    if not tail and value is MISSING:
        copy.pop(head, None)
    elif tail and value is MISSING and head not in copy:
        return copy
    else:
        copy[head] = assign(copy.get(head, {}), tail, value)
    return copy


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of comparing one resource three ways.

    Args:
        changes: What a write must change; empty means that the target is as Git wants it.
        drift: Owned fields that no longer read as they were left, whatever the policy says of them.
        effective: The desired spec with the fields that are not ours to write taken from the target.
    """

    changes: tuple[FieldChange, ...]
    drift: tuple[FieldChange, ...]
    effective: Spec


def _owned(pointer: str, *specs: Spec | None) -> bool:
    return any(spec is not None and lookup(spec, pointer) is not MISSING for spec in specs)


def three_way(
    kind: str,
    desired: Spec,
    observed: Spec,
    sent: Spec | None,
    answered: Spec | None,
    interrupted: Spec | None = None,
    policy: Policy = Policy(),  # noqa: B008  a frozen value
    write_only: Sequence[str] = (),
) -> Comparison:
    """Compares what Git wants with what is there, knowing what was last sent and what was answered to it.

    Args:
        sent: The last confirmed spec, or None if nothing was ever recorded.
        answered: The target's report of it.
        interrupted: The spec of a write whose result is unknown: its fields count as ours.
        write_only: Patterns of fields that the target never reports; compared with `sent` alone.
    """
    hidden = Policy(rules=tuple(_ignored(pattern) for pattern in write_only))

    def unreadable(pointer: str) -> bool:
        return bool(write_only) and hidden.of_field(kind, pointer) is FieldPolicy.IGNORE

    drift: list[FieldChange] = []
    moved: dict[str, tuple[Any, Any]] = {}
    if sent is not None and answered is not None and interrupted is None:
        for pointer, was, now in differences(answered, observed):
            if unreadable(pointer) or not _owned(pointer, sent):
                continue
            if policy.of_field(kind, pointer) in (FieldPolicy.IGNORE, FieldPolicy.CREATE_ONLY):
                continue
            moved[pointer] = (was, now)
            drift.append(FieldChange(pointer, now, was, Cause.DRIFT))

    effective: Any = desired
    for pointer, was, now in differences(desired, observed):
        rule = policy.of_field(kind, pointer)
        kept_as_is = rule in (FieldPolicy.IGNORE, FieldPolicy.CREATE_ONLY) and not unreadable(pointer)
        only_reported = rule is FieldPolicy.REPORT and pointer in moved and equal(lookup(sent, pointer), was)
        if kept_as_is and (now is not MISSING or rule is FieldPolicy.CREATE_ONLY or not _owned(pointer, desired)):
            effective = assign(effective, pointer, now) if _owned(pointer, desired) else effective
        elif only_reported:
            effective = assign(effective, pointer, now)

    changes: list[FieldChange] = []
    for pointer, after, now in differences(effective, observed):
        if unreadable(pointer) or not _owned(pointer, desired, sent, interrupted):
            continue
        if after is MISSING and policy.of_field(kind, pointer) in (FieldPolicy.IGNORE, FieldPolicy.CREATE_ONLY):
            continue
        if after is MISSING and not _owned(pointer, sent, interrupted):
            continue
        if after is MISSING and pointer in moved and policy.of_field(kind, pointer) is FieldPolicy.REPORT:
            continue
        left = _left_by_us(pointer, after, sent, answered, now)
        if left is None:
            continue
        changes.append(FieldChange(pointer, now, after, left))
    for pointer, before, after in differences(sent if sent is not None else {}, desired):
        if not unreadable(pointer):
            continue
        changes.append(FieldChange(pointer, before, after, Cause.PENDING))
    return Comparison(
        tuple(sorted(changes, key=lambda c: c.pointer)), tuple(sorted(drift, key=lambda c: c.pointer)), effective
    )


def _left_by_us(pointer: str, after: Any, sent: Spec | None, answered: Spec | None, now: Any) -> Cause | None:
    """Why a field must be written: Git changed it, or reality did; None if the target only spells it its own way."""
    if sent is None or answered is None:
        return Cause.PENDING
    if not equal(lookup(sent, pointer), after):
        return Cause.PENDING
    return None if equal(lookup(answered, pointer), now) else Cause.DRIFT


def _ignored(pattern: str) -> DriftRule:
    return DriftRule(pattern, FieldPolicy.IGNORE)
