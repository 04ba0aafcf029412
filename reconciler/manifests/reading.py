"""What one file holds: documents that claim to be manifests, validated, and every problem of it. Pure.

A document is a manifest by its `apiVersion`, wherever its file is. So that a forgotten line is not taken for a
deletion, YAML files in `services/` and `targets/` must be manifests, and those in `models/`, `inference/` and
`environments/`, where conda files and the like belong too, are if they have an `apiVersion`, `kind` or `spec`. A file
elsewhere without the words `reconciler/v` in it is not even parsed.
"""

from __future__ import annotations

from typing import Any, cast

from reconciler.core.problems import Problem
from reconciler.manifests.document import Document, Limits, too_large
from reconciler.manifests.repo import Manifest, ManifestFile
from reconciler.manifests.validate import validate

DEFAULTS_FILE = "reconciler.yaml"
_STRICT = ("services/", "targets/")
_MIXED = ("models/", "inference/", "environments/")
# Also as some editors and shells on Windows save text, which is an error that has to be told.
_MARKERS = tuple("reconciler/v".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
_MANIFEST_KEYS = ("apiVersion", "kind", "spec")


def read_file(path: str, object_id: str, data: bytes, limits: Limits) -> ManifestFile:
    """What a file holds."""
    marked = _marked(data)
    if not marked and not _ours(path):
        return ManifestFile(path, object_id)
    # Imported here, since a run in which no document changed does without the parser.
    from reconciler.manifests.yaml import parse

    documents, problems = parse(data, path, limits)
    if problems and not marked and path.startswith(_MIXED) and not any(_claims(d, path) for d in documents):
        return ManifestFile(path, object_id)
    manifests: list[Manifest] = []
    unreadable: list[tuple[str, str]] = []
    for document in documents:
        if not _claims(document, path):
            continue
        if not isinstance(cast("object", document.value), dict):
            hint = "begin with `apiVersion: reconciler/v1`"
            problems.append(Problem("not-a-manifest", "a manifest is a mapping", document.marks.at(""), hint))
            unreadable.append(("", ""))
            continue
        manifest, wrong = validate(document) if document.sound else (None, [])
        problems += wrong
        if manifest is not None:
            manifests.append(manifest)
        else:
            unreadable.append(_named(cast("dict[str, Any]", document.value)))
    if problems and not unreadable:
        unreadable.append(("", ""))
    return ManifestFile(path, object_id, tuple(manifests), tuple(problems), tuple(unreadable))


def prepare() -> None:
    """Loads what reading needs, which is not loaded before there is something to read."""
    from reconciler.manifests.kinds.documents import Service
    from reconciler.manifests.yaml import parse

    parse(b"{}", "")
    Service.model_rebuild()


def read_large(path: str, object_id: str, beginning: bytes, size: int, limits: Limits) -> ManifestFile:
    """What is to be said of a file that is too large to be read."""
    if not _marked(beginning) and (not _ours(path) or path.startswith(_MIXED)):
        return ManifestFile(path, object_id)
    problem = too_large(path, size, limits)
    return ManifestFile(path, object_id, problems=(problem,), unreadable=(("", ""),))


def _marked(data: bytes) -> bool:
    return any(marker in data for marker in _MARKERS)


def _ours(path: str) -> bool:
    return path == DEFAULTS_FILE or path.startswith((*_STRICT, *_MIXED))


def _claims(document: Document, path: str) -> bool:
    """Whether a document is meant to be a manifest."""
    value = document.value
    if value is None and document.sound:
        return False
    if path == DEFAULTS_FILE or path.startswith(_STRICT):
        return True
    if not isinstance(value, dict):
        return False
    keys = cast("dict[str, Any]", value)
    if str(keys.get("apiVersion", "")).startswith("reconciler/"):
        return True
    return path.startswith(_MIXED) and any(key in keys for key in _MANIFEST_KEYS)


def _named(value: dict[str, Any]) -> tuple[str, str]:
    metadata: Any = value.get("metadata")
    name: Any = cast("dict[str, Any]", metadata).get("name") if isinstance(metadata, dict) else None
    kind: Any = value.get("kind")
    return (kind if isinstance(kind, str) else "", name if isinstance(name, str) else "")
