"""All manifests of a revision, and every problem of all files in one report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from reconciler.core.contents import Listed, Tree
from reconciler.core.dataclass import replace
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position, Problem
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.collecting import uncollected
from reconciler.manifests.document import LIMITS, Limits, Marks
from reconciler.manifests.reading import DEFAULTS_FILE, prepare, read_file, read_large
from reconciler.manifests.repo import Manifest, ManifestFile, Repo
from reconciler.manifests.together import FEWEST, meanwhile, read_together
from reconciler.manifests.validate import KIND_NAMES


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
    listed = tree.documents()
    if previous is None:
        return _assemble(tree, listed, _files(tree, listed, cache, {}, limits))
    known = previous.files
    changed = _changed(listed, previous)
    if not changed and len(listed) == len(known):
        return previous if previous.revision == tree.revision else replace(previous, revision=tree.revision)
    fresh = _files(tree, changed, cache, known, limits)
    if len(listed) == len(known) and fresh.keys() <= known.keys():
        files = {**known, **fresh}
        return _patched(previous, tree, listed, files, fresh) or _assemble(tree, listed, files)
    return _assemble(tree, listed, {e.path: fresh.get(e.path) or known[e.path] for e in listed})


def _changed(listed: Sequence[Listed], previous: Repo) -> list[Listed]:
    """The files that are not as they were; entries that stayed the same objects need no closer look."""
    entries: Iterable[Listed] = listed
    if len(listed) == len(previous.listed):
        entries = [entry for entry, before in zip(listed, previous.listed, strict=True) if entry is not before]
    known = previous.files
    return [e for e in entries if (file := known.get(e.path)) is None or file.object_id != e.object_id]


def _files(
    tree: Tree,
    entries: Sequence[Listed],
    cache: DocumentCache | None,
    known: Mapping[str, ManifestFile],
    limits: Limits,
) -> dict[str, ManifestFile]:
    """What some files hold, in their order: as remembered, else read."""
    remembered = {e.path: cache.get(e.path, e.object_id) for e in entries} if cache is not None else {}
    unknown = [entry for entry in entries if remembered.get(entry.path) is None]
    read: dict[str, ManifestFile] = {}
    # Reading needs much to be loaded, for which there is time while Git looks for many files.
    found = tree.read_all(unknown, limits.bytes)
    if len(unknown) >= FEWEST:
        found = meanwhile(prepare, found)
    for file in read_together(zip(unknown, found, strict=True), lambda entry, data: _read(tree, entry, data, limits)):
        read[file.path] = file
        if cache is not None:
            cache.put(file)
    return {e.path: _kept(known.get(e.path), remembered.get(e.path) or read[e.path]) for e in entries}


def _read(tree: Tree, entry: Listed, data: bytes | int | InvalidError, limits: Limits) -> ManifestFile:
    match data:
        case bytes():
            return read_file(entry.path, entry.object_id, data, limits)
        case int():
            with tree.contents.open(entry.object_id) as stream:
                return read_large(entry.path, entry.object_id, stream.read(1 << 16), data, limits)
        case InvalidError():
            problem = Problem("unreadable-file", str(data), Position(entry.path), data.hint)
            return ManifestFile(entry.path, entry.object_id, problems=(problem,), unreadable=(("", ""),))


def _kept(previous: ManifestFile | None, file: ManifestFile) -> ManifestFile:
    """A manifest that an edit elsewhere in its file left as it was stays the same object, and so what is made of it."""
    if previous is None or not previous.manifests:
        return file
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


def _patched(
    previous: Repo,
    tree: Tree,
    listed: Sequence[Listed],
    files: Mapping[str, ManifestFile],
    fresh: Mapping[str, ManifestFile],
) -> Repo | None:
    """The last result with what a few files hold now; None if these are not the same documents as before, and sound."""
    anew: dict[int, Manifest] = {}
    for path, file in fresh.items():
        before = previous.files[path]
        if file.problems or file.unreadable or before.problems or before.unreadable:
            return None
        if [_identity(m) for m in file.manifests] != [_identity(m) for m in before.manifests]:
            return None
        if any((m.kind, m.name) in previous.broken for m in file.manifests):
            return None
        anew |= {id(old): new for old, new in zip(before.manifests, file.manifests, strict=True) if old is not new}
    kinds = {manifest.kind for manifest in anew.values()}

    def of(kind: str, known: Mapping[str, Manifest]) -> Mapping[str, Manifest]:
        """The same mapping for a kind of which nothing changed."""
        return {**known, **{m.name: m for m in anew.values() if m.kind == kind}} if kind in kinds else known

    models = previous.models
    if "Model" in kinds:
        names = {m.name for m in anew.values() if m.kind == "Model"}
        models = {**models, **{name: tuple(anew.get(id(m), m) for m in models[name]) for name in names}}
    return replace(
        previous,
        revision=tree.revision,
        services=of("Service", previous.services),
        inference=of("InferenceConfig", previous.inference),
        targets=of("Target", previous.targets),
        models=models,
        defaults=next((m for m in anew.values() if m.kind == "Defaults"), previous.defaults),
        overlays=of("Overlay", previous.overlays),
        files=files,
        listed=listed,
    )


def _assemble(tree: Tree, listed: Sequence[Listed], files: dict[str, ManifestFile]) -> Repo:
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
            identity = _identity(manifest)
            first = seen.setdefault(identity, manifest)
            if first is not manifest:
                twice.add(identity)
                broken.add((manifest.kind, manifest.name))
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
        listed=listed,
    )


def _identity(manifest: Manifest) -> tuple[str, str, int | None]:
    """What stands once in a repo."""
    kind = manifest.kind
    name = "" if kind == "Defaults" else manifest.name
    return kind, name, manifest.spec.get("version") if kind == "Model" else None


def _duplicate(first: Manifest, second: Manifest, version: int | None) -> Iterable[Problem]:
    what = second.subject + (f" version {version}" if version is not None else "")
    pointer = "/metadata/name" if second.kind != "Defaults" else ""
    for one, other in ((first, second), (second, first)):
        message = f"{what} stands twice; also at {other.at(pointer)}"
        yield Problem("duplicate", message, one.at(pointer), "rename or remove one of the two", one.subject)
