"""The reference of all keys as Markdown, generated from the schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from reconciler.manifests.defaults import TYPES
from reconciler.manifests.document import LIMITS
from reconciler.manifests.schema import schemas

_INTRODUCTION = f"""# Manifests

Generated from the code that validates them; do not edit.

A manifest repo holds YAML documents of six kinds. Every document has `apiVersion: reconciler/v1`, a `kind`,
`metadata` and a `spec`. A file may hold several documents. The kind decides what a document is; folders are a habit:

| folder | kind |
|---|---|
| `models/` | `Model` |
| `inference/` | `InferenceConfig` |
| `targets/` | `Target` |
| `services/` | `Service` |
| `environments/` | `Overlay`, optional: what one environment changes |
| `reconciler.yaml` | `Defaults`, optional |

**Which files count.** A document is a manifest by its `apiVersion`, wherever its file is (names that begin with a dot
are left out). So that a forgotten line is not taken for a deletion, every YAML document in `services/` and `targets/`
must be a manifest, and in `models/`, `inference/` and `environments/`, where conda files and the like belong too, every
one that has an `apiVersion`, `kind` or `spec`. All other YAML files are left alone.

**YAML.** Only `true` and `false` are booleans: `yes`, `no`, `on`, `off` stay text. Dates and digits with a leading zero
stay text. Anchors, aliases and `<<` work within a document; tags (`!…`) and duplicate keys are refused. A file may have
{LIMITS.bytes // 1024} KiB, {LIMITS.documents} documents, {LIMITS.nodes} keys and values (aliases counted as often as
they are used) and {LIMITS.depth} levels of nesting.

**Paths** count from the folder that holds `models/` and `services/`; in an inference config with a `sourceDirectory`,
from there.

**Secrets** never stand in the repo. Where one is needed, write `valueFrom: {{env: NAME}}` or
`valueFrom: {{file: PATH}}`; the operator's settings say which names and folders may be used. A variable whose name or
value looks like a secret is refused as a literal; if it is none, write `NAME: {{value: …}}`.

**Layers.** A service's settings and policy are those of the `Defaults`, then its target's, then its own: later ones
win, mappings merge key by key, lists are replaced. In each of them the block of the target's type wins over the common
settings beside it. Environment variables begin with those of the inference config. Drift rules add up: those of the
service win over the target's, these over the defaults', and in one document the narrowest pattern does:
[drift.md](drift.md).

**Environments.** An `Overlay` says what one environment, named by its `metadata.name`, changes in the documents;
`--env` or the operator's settings choose it. It is laid over the documents before the layers are: a service's own
settings, as its overlay leaves them, win over those of its target and of the `Defaults`, as theirs leaves them.
[overlays.md](overlays.md) has the rules, with examples.

**Versions.** A model without `version` has the number of the registered version with the same bytes, or the next one.
`latest` is the highest version that the repo declares; only for a model that the repo does not declare it is the
highest registered. So reverting a commit takes a service back. Which bytes are behind a `uri` say `sha256` or
`model.lock`: [model-versions.md](model-versions.md).
"""


def reference_markdown() -> str:
    """The whole reference, ending with a newline."""
    found = schemas()
    definitions = cast("dict[str, Any]", found["manifest.json"]["$defs"])
    lines: list[str] = [_INTRODUCTION]
    seen: set[str] = set()
    for name in ("Service", "Model", "InferenceConfig", "Target", "Defaults", "Overlay"):
        schema = definitions[name]
        lines += [f"## {name}", "", schema["description"], ""]
        for part in ("metadata", "spec"):
            (reference,) = _references(schema["properties"][part])
            lines += _section(part, reference, definitions, seen, 3)
    return "\n".join(lines).rstrip() + "\n"


def _section(title: str, name: str, definitions: dict[str, Any], seen: set[str], level: int) -> list[str]:
    if name in seen:
        return []
    seen.add(name)
    schema = definitions[name]
    own = "" if title in ("metadata", "spec") else f'<a id="{_anchor(name)}"></a>\n\n'
    lines = [f"{own}{'#' * level} {title}", "", _provisional(schema.get("description", "")), ""]
    properties = cast("dict[str, Any]", schema.get("properties", {}))
    required = schema.get("required", ())
    common = set(definitions["Common"]["properties"]) if "Common" in definitions else _common(definitions)
    rows = {
        key: value
        for key, value in properties.items()
        if not (
            name.lower() in TYPES and key in common and value == definitions["DeploymentSettings"]["properties"][key]
        )
    }
    if len(rows) < len(properties):
        lines += ["All common settings, and:", ""]
    lines += ["| key | type | default | |", "|---|---|---|---|"]
    for key, value in rows.items():
        default = "required" if key in required else _default(value)
        lines.append(f"| `{key}` | {_type(value, definitions)} | {default} | {_cell(value.get('description', ''))} |")
    lines.append("")
    for key, value in rows.items():
        for reference in _references(value):
            if definitions[reference].get("properties"):
                lines += _section(
                    _title(key, reference), reference, definitions, seen, level + 1 if level < 4 else level
                )
    return lines


def _common(definitions: dict[str, Any]) -> set[str]:
    return set(definitions["DeploymentSettings"]["properties"]) - set(TYPES)


def _title(key: str, reference: str) -> str:
    return (
        f"`{key}`" if reference not in ("Variable", "ValueFrom", "SecretSlot") else f"`{key}` ({reference.strip('_')})"
    )


def _provisional(text: str) -> str:
    return text.replace("\n", " ").replace(
        "(provisional)", "(**provisional**: read and checked, but no driver uses it yet)"
    )


def _references(schema: Any) -> Iterator[str]:
    """Names of the definitions a schema speaks of."""
    if isinstance(schema, dict):
        for key, value in cast("dict[str, Any]", schema).items():
            if key == "$ref":
                yield str(value).rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in cast("list[Any]", schema):
            yield from _references(value)


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[mapping](#{_anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(part, definitions) for part in schema["anyOf"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema['items'], definitions)}"
    if kind == "object":
        values: Any = schema.get("additionalProperties")
        return f"mapping to {_type(values, definitions)}" if values and values is not True else "mapping"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false", "null": "null"}
    return words.get(str(kind), "any") + _range(schema)


def _range(schema: dict[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum")
    if low is None and high is None:
        return ""
    if high is None:
        return f" {'>' if 'exclusiveMinimum' in schema else '≥'} {low:g}"
    return f" {low:.15g} to {high:.15g}"


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'], ensure_ascii=False)}`" if "default" in schema else ""


def _cell(text: str) -> str:
    return _provisional(text).replace("|", "\\|")


def _anchor(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name.strip("_")).lower()
