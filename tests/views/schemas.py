"""What the tests of our JSON's schemas have in common."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, cast

import jsonschema


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every part of a schema that describes an object with keys."""
    if isinstance(node, dict):
        part = cast("dict[str, Any]", node)
        if part.get("type") == "object" and "properties" in part:
            yield part
        for inner in part.values():
            yield from objects(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from objects(inner)


def undescribed(schema: dict[str, Any]) -> list[str]:
    """The keys of a schema that it does not say the meaning of; a schema that is none raises."""
    jsonschema.Draft202012Validator.check_schema(schema)
    every = [item for part in objects(schema) for item in part["properties"].items()]
    return [name for name, value in every if not value.get("description") and "$ref" not in value]


def strict(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """The schema, but with every key that it does not name forbidden."""
    made = copy.deepcopy(schema)
    for part in objects(made):
        part["additionalProperties"] = False
    return jsonschema.Draft202012Validator(made)
