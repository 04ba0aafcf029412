"""The words that schemas of our own JSON are put together from."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, TypeAlias

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema: TypeAlias = dict[str, Any]


def record(properties: Schema, description: str = "", *, optional: Iterable[str] = ()) -> Schema:
    """An object with keys; all of them are there but the optional ones."""
    about = {"description": description} if description else {}
    required = [name for name in properties if name not in optional]
    return {**about, "type": "object", "required": required, "properties": properties}


def ref(name: str, description: str = "") -> Schema:
    """One of the schema's own definitions."""
    return {"$ref": f"#/$defs/{name}", **({"description": description} if description else {})}


def list_of(items: Schema, description: str) -> Schema:
    """A list."""
    return {"type": "array", "description": description, "items": items}


def map_of(values: Schema, description: str) -> Schema:
    """An object whose keys are names."""
    return {"type": "object", "description": description, "additionalProperties": values}


def text(description: str) -> Schema:
    """A text."""
    return {"type": "string", "description": description}


def null_or(description: str) -> Schema:
    """A text or null."""
    return {"type": ["string", "null"], "description": description}


def flag(description: str) -> Schema:
    """True or false."""
    return {"type": "boolean", "description": description}


def count(description: str, least: int = 0) -> Schema:
    """A whole number."""
    return {"type": "integer", "minimum": least, "description": description}


def digest(description: str, *, null: bool = False) -> Schema:
    """A SHA-256 in hex."""
    return {"type": ["string", "null"] if null else "string", "pattern": "^[0-9a-f]{64}$", "description": description}


def one_of(words: Iterable[Enum], description: str) -> Schema:
    """One of an enumeration's words."""
    return {"enum": sorted(str(word.value) for word in words), "description": description}
