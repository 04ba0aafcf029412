"""Who wrote which field, as the API keeps account of it in `managedFields`.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/ (FieldsV1).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from reconciler.core.resources import Owner
from reconciler.core.values import escape
from reconciler.targets.aks.kinds import KINDS, MANAGER
from reconciler.targets.aks.parts import Json, part, parts


def owners(found: Mapping[str, Any]) -> dict[str, Owner]:
    """Who else wrote fields of an object, by pointers into its normal form."""
    kind = KINDS[str(found["kind"])]
    listed: dict[str, Owner] = {}
    for entry in _entries(found):
        manager = str(entry.get("manager") or "")
        if manager == MANAGER or (entry.get("subresource") == "status"):
            continue
        owner = Owner(manager, seconds_of(str(entry.get("time") or "")))
        keyed = dict(kind.keyed)
        for pointer in _leaves(entry.get("fieldsV1") or {}, found, "", (), keyed):
            listed[pointer] = owner
    return listed


def owned(found: Mapping[str, Any], path: tuple[str, ...], manager: str = MANAGER) -> bool:
    """Whether a manager has a field, given by its names (`spec`, `replicas`)."""
    for entry in _entries(found):
        if entry.get("manager") != manager or entry.get("subresource"):
            continue
        above = part(entry, "fieldsV1", *(f"f:{step}" for step in path[:-1]))
        if f"f:{path[-1]}" in above:
            return True
    return False


def _entries(found: Mapping[str, Any]) -> list[Json]:
    return parts(found, "metadata", "managedFields")


def _leaves(
    fields: Mapping[str, Any],
    value: Any,
    pointer: str,
    path: tuple[str, ...],
    keyed: Mapping[tuple[str, ...], str],
) -> Iterator[str]:
    inner = [(name, below) for name, below in fields.items() if name != "."]
    if not inner:
        yield pointer
    for name, below in inner:
        sort, _, rest = name.partition(":")
        if sort == "f":
            there = cast("Mapping[str, Any]", value).get(rest) if isinstance(value, Mapping) else None
            yield from _leaves(below, there, f"{pointer}/{escape(rest)}", (*path, rest), keyed)
        elif sort == "k" and (key := keyed.get(path)):
            item = _item(value, json.loads(rest))
            if item is not None and item.get(key):
                yield from _leaves(below, item, f"{pointer}/{escape(str(item[key]))}", (*path, "*"), keyed)
        else:
            yield pointer


def _item(value: Any, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    for item in items:
        if isinstance(item, Mapping):
            known = cast("Mapping[str, Any]", item)
            if all(known.get(k) == v for k, v in wanted.items()):
                return known
    return None


def seconds_of(text: str) -> float | None:
    """Unix time in seconds of one of the API's times; None where it is none."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
