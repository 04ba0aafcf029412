"""Taking away fields that Git no longer names and that others have come to have: letting go of them is not enough.

Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/ (strategic merge).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.core.change import Change
from reconciler.core.values import MISSING, Spec, lookup, split_pointer
from reconciler.targets.aks.kinds import Kind

STRATEGIC = "application/strategic-merge-patch+json"
# Their items have other keys there than the names that we know them by.
_BY_PORT = "ports"


def left_behind(change: Change, answered: Spec) -> list[str]:
    """The fields that were to go and are still there."""
    gone = [f.pointer for f in change.fields if f.after is MISSING and not f.pointer.startswith("/mark/")]
    # How many replicas there are is the autoscaler's from then on.
    return [p for p in gone if p != "/spec/replicas" and lookup(answered, p) is not MISSING]


def removal(kind: Kind, pointers: Iterable[str]) -> dict[str, Any]:
    """A strategic merge patch without these fields; empty where none of them can be named in one."""
    body: dict[str, Any] = {}
    for pointer in pointers:
        steps = split_pointer(pointer)
        if _BY_PORT not in steps:
            _remove(dict(kind.keyed), body, steps, ())
    return body


def _remove(
    keys: Mapping[tuple[str, ...], str], body: dict[str, Any], steps: Sequence[str], path: tuple[str, ...]
) -> None:
    step, rest, below = steps[0], steps[1:], (*path, steps[0])
    key = keys.get(below)
    if not rest:
        body[step] = None
    elif key is None:
        _remove(keys, body.setdefault(step, {}), rest, below)
    else:
        items: list[dict[str, Any]] = body.setdefault(step, [])
        item = next((one for one in items if one.get(key) == rest[0]), None)
        if item is None:
            item = {key: rest[0]}
            items.append(item)
        if len(rest) == 1:
            item["$patch"] = "delete"
        else:
            _remove(keys, item, rest[1:], (*below, "*"))
