"""JSON Schemas for editors, generated from the kinds: one file per kind and `manifest.json` for any of them.

An editor with yaml-language-server uses them by the first line of a file:
`# yaml-language-server: $schema=<path or address>/service.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Leaves out `null`: a key that has no value is left away."""

    schema_dialect = DIALECT

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        result = super().default_schema(schema)
        if result.get("default", ...) is None:
            del result["default"]
        return result

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schemas() -> dict[str, dict[str, Any]]:
    """Schemas by file name, `manifest.json` last."""
    from reconciler.manifests.kinds.overlay import KINDS

    found: dict[str, dict[str, Any]] = {}
    definitions: dict[str, Any] = {}
    for name, kind in KINDS.items():
        schema = _of_overlay() if name == "Overlay" else kind.model_json_schema(schema_generator=_Generator)
        found[f"{name.lower()}.json"] = {"$schema": DIALECT, **schema}
        definitions.update(schema.get("$defs", {}))
        definitions[name] = {key: value for key, value in schema.items() if key != "$defs"}
    found["manifest.json"] = {
        "$schema": DIALECT,
        "title": "Manifest",
        "description": "Any document of a manifest repo.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"const": "reconciler/v1", "description": "Version of this format."},
            "kind": {"enum": list(KINDS), "description": "What this document is."},
        },
        "allOf": [
            {"if": {"properties": {"kind": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}} for name in KINDS
        ],
        "$defs": dict(sorted(definitions.items())),
    }
    return found


def _of_overlay() -> dict[str, Any]:
    """The schema of overlays: what an override may say of a `spec` depends on its kind."""
    from reconciler.manifests.kinds.overlay import DOCUMENT_KINDS, Overlay, partial_spec_of

    schema = Overlay.model_json_schema(schema_generator=_Generator)
    definitions = schema["$defs"]
    cases: list[dict[str, Any]] = []
    for name in DOCUMENT_KINDS:
        part = partial_spec_of(name).model_json_schema(schema_generator=_Generator)
        definitions.update(part.pop("$defs", {}))
        definitions[part["title"]] = part
        spec = {"properties": {"spec": {"$ref": f"#/$defs/{part['title']}"}}}
        cases.append({"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": spec})
    definitions["Override"]["allOf"] = cases
    schema["$defs"] = dict(sorted(definitions.items()))
    return schema


def write_schemas(folder: Path) -> list[Path]:
    """Writes all schemas into a folder, made if need be; the paths written."""
    return write(schemas(), folder)


def write(found: Mapping[str, dict[str, Any]], folder: Path) -> list[Path]:
    """Writes schemas, by file name, into a folder, made if need be; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, schema in found.items():
        path = folder / name
        path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
        written.append(path)
    return written
