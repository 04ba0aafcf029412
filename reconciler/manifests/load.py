"""All manifests of a revision, and every problem of all files in one report.

A document is a manifest by its `apiVersion`, wherever its file is. So that a forgotten line is not taken for a
deletion, YAML files in `services/` and `targets/` must be manifests, and those in `models/`, `inference/` and
`environments/`, where conda files and the like belong too, are if they have an `apiVersion`, `kind` or `spec`. A file
elsewhere without the words `reconciler/v` in it is not even parsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from reconciler.core.contents import Entry, Tree
from reconciler.core.dataclass import replace
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position, Problem
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.collecting import uncollected
from reconciler.manifests.document import LIMITS, Document, Limits, Marks, too_large
from reconciler.manifests.repo import Manifest, ManifestFile, Repo
from reconciler.manifests.validate import KIND_NAMES, validate

DEFAULTS_FILE = "reconciler.yaml"
_STRICT = ("services/", "targets/")
_MIXED = ("models/", "inference/", "environments/")
_MARKER = b"reconciler/v"
_MANIFEST_KEYS = ("apiVersion", "kind", "spec")


def load(tree: Tree, cache: DocumentCache | None = None, previous: Repo | None = None, limits: Limits = LIMITS) -> Repo:
    """The documents of a revision.

    Args:
        cache: Remembers validated documents by the id of their bytes, across runs where it has a file.
        previous: The last result; files with the same bytes keep their very manifests.

    Raises:
        InvalidError: The tree cannot be listed: too many files, or folders nested too deeply.
    """
    with uncollected():
        return _load(tree, cache, previous, limits)


def _load(tree: Tree, cache: DocumentCache | None, previous: Repo | None, limits: Limits) -> Repo:
    known: Mapping[str, ManifestFile] = previous.files if previous is not None else {}
    files: dict[str, ManifestFile] = {}
    changed = previous is None
    for entry in tree.documents():
        path = entry.path
        file = known.get(path)
        if file is None or file.object_id != entry.object_id:
            file = _file(tree, entry, cache, limits, file)
            changed = True
        files[path] = file
    if previous is not None and not changed and len(files) == len(known):
        return previous if previous.revision == tree.revision else _at(previous, tree)
    return _assemble(tree, files)


def _at(previous: Repo, tree: Tree) -> Repo:
    return replace(previous, revision=tree.revision)


def _file(
    tree: Tree, entry: Entry, cache: DocumentCache | None, limits: Limits, previous: ManifestFile | None
) -> ManifestFile:
    file = cache.get(entry.path, entry.object_id) if cache is not None else None
    if file is None:
        file = _read(tree, entry, limits)
        if cache is not None:
            cache.put(file)
    if previous is None or not previous.manifests:
        return file
    # A manifest that an edit elsewhere in its file left as it was stays the same object, and so what is made of it.
    before = {(m.kind, m.name, m.spec.get("version")): m for m in previous.manifests}
    manifests = tuple(
        old if (old := before.get((m.kind, m.name, m.spec.get("version")))) and _alike(old, m) else m
        for m in file.manifests
    )
    return ManifestFile(file.path, file.object_id, manifests, file.problems, file.unreadable)


def _alike(old: Manifest, new: Manifest) -> bool:
    """Whether they mean the same and stand in the same places, whatever comments are around them."""
    before, after = cast("Marks", old.marks), cast("Marks", new.marks)
    return old == replace(new, marks=before) and (before == after or before.settled() == after.settled())


def _read(tree: Tree, entry: Entry, limits: Limits) -> ManifestFile:
    path = entry.path
    ours = path == DEFAULTS_FILE or path.startswith((*_STRICT, *_MIXED))
    try:
        if entry.size > limits.bytes:
            return _large(tree, entry, ours, limits)
        data = tree.read(path, limits.bytes)
    except InvalidError as exc:
        problem = Problem("unreadable-file", str(exc), Position(path), exc.hint)
        return ManifestFile(path, entry.object_id, problems=(problem,), unreadable=(("", ""),))
    marked = _MARKER in data
    if not marked and not ours:
        return ManifestFile(path, entry.object_id)
    # Imported here, since a run in which no document changed does without the parser.
    from reconciler.manifests.yaml import parse

    documents, problems = parse(data, path, limits)
    if problems and not marked and path.startswith(_MIXED) and not any(_claims(d, path) for d in documents):
        return ManifestFile(path, entry.object_id)
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
            unreadable.append(_identity(cast("dict[str, Any]", document.value)))
    if problems and not unreadable:
        unreadable.append(("", ""))
    return ManifestFile(path, entry.object_id, tuple(manifests), tuple(problems), tuple(unreadable))


def _large(tree: Tree, entry: Entry, ours: bool, limits: Limits) -> ManifestFile:
    with tree.contents.open(entry.object_id) as stream:
        marked = _MARKER in stream.read(1 << 16)
    if not marked and (not ours or entry.path.startswith(_MIXED)):
        return ManifestFile(entry.path, entry.object_id)
    problem = too_large(entry.path, entry.size, limits)
    return ManifestFile(entry.path, entry.object_id, problems=(problem,), unreadable=(("", ""),))


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


def _identity(value: dict[str, Any]) -> tuple[str, str]:
    metadata: Any = value.get("metadata")
    name: Any = cast("dict[str, Any]", metadata).get("name") if isinstance(metadata, dict) else None
    kind: Any = value.get("kind")
    return (kind if isinstance(kind, str) else "", name if isinstance(name, str) else "")


def _assemble(tree: Tree, files: dict[str, ManifestFile]) -> Repo:
    problems: list[Problem] = []
    broken: set[tuple[str, str]] = set()
    seen: dict[tuple[str, str, int | None], Manifest] = {}
    twice: set[tuple[str, str, int | None]] = set()
    for file in files.values():
        problems += file.problems
        broken.update(file.unreadable)
        if file.path == DEFAULTS_FILE and file.unreadable:
            broken.add(("Defaults", "defaults"))
        for manifest in file.manifests:
            kind = manifest.kind
            name = "" if kind == "Defaults" else manifest.name
            identity = (kind, name, manifest.spec.get("version") if kind == "Model" else None)
            first = seen.setdefault(identity, manifest)
            if first is not manifest:
                twice.add(identity)
                broken.add((kind, manifest.name))
                problems += _duplicate(first, manifest, identity[2])
    for identity in twice:
        del seen[identity]
    kinds: dict[str, dict[str, Manifest]] = {kind: {} for kind in KIND_NAMES}
    models: dict[str, list[Manifest]] = {}
    for (kind, name, _), manifest in seen.items():
        if kind == "Model":
            models.setdefault(name, []).append(manifest)
        else:
            kinds[kind][name] = manifest
    if problems:
        problems.sort(key=lambda problem: problem.sort_key)
    return Repo(
        revision=tree.revision,
        services=kinds["Service"],
        inference=kinds["InferenceConfig"],
        targets=kinds["Target"],
        models={name: tuple(manifests) for name, manifests in models.items()},
        defaults=kinds["Defaults"].get(""),
        overlays=kinds["Overlay"],
        problems=tuple(problems),
        broken=frozenset(broken),
        files=files,
    )


def _duplicate(first: Manifest, second: Manifest, version: int | None) -> Iterable[Problem]:
    what = second.subject + (f" version {version}" if version is not None else "")
    pointer = "/metadata/name" if second.kind != "Defaults" else ""
    for one, other in ((first, second), (second, first)):
        message = f"{what} stands twice; also at {other.at(pointer)}"
        yield Problem("duplicate", message, one.at(pointer), "rename or remove one of the two", one.subject)
