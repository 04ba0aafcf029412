"""Reading JSON of the API: maps and lists that may not be there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

Json = dict[str, Any]


def parsed(data: bytes) -> Json:
    """An answer's object; of one that is no JSON, its text as a message."""
    try:
        found: object = json.loads(data)
    except ValueError:
        return {"message": data[:300].decode(errors="replace").strip()}
    return cast("Json", found) if isinstance(found, dict) else {}


def part(value: Mapping[str, Any], *keys: str) -> Json:
    """The map at a path; empty where there is none."""
    current: object = value
    for key in keys:
        current = cast("Mapping[str, object]", current).get(key) if isinstance(current, Mapping) else None
    return cast("Json", current) if isinstance(current, dict) else {}


def parts(value: Mapping[str, Any], *keys: str) -> list[Json]:
    """The maps of the list at a path; none where there is no list."""
    found: object = part(value, *keys[:-1]).get(keys[-1])
    items = cast("Sequence[object]", found) if isinstance(found, list) else ()
    return [cast("Json", item) for item in items if isinstance(item, dict)]


def each(value: object, path: Sequence[str]) -> list[Json]:
    """The maps that a path leads to, `*` for every item of a keyed list that was made a map."""
    found: list[object] = [value]
    for step in path:
        maps = [cast("Mapping[str, object]", item) for item in found if isinstance(item, dict)]
        found = [v for m in maps for v in m.values()] if step == "*" else [m[step] for m in maps if step in m]
    return [cast("Json", item) for item in found if isinstance(item, dict)]
