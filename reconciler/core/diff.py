"""Two values side by side: whether they are equal, where they differ, and one place of a value set anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from reconciler.core.values import MISSING, escape, split_pointer


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
