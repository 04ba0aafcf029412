"""The documents of one environment: those of the repo with the overlay of that name laid over them.

What neither changed in the document nor in what is laid over it stays the same object from one revision to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from reconciler.core.problems import Position, Problem, Severity
from reconciler.core.values import digest
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.collecting import uncollected
from reconciler.manifests.overlays.origins import Applied, Blame, Origins, lay
from reconciler.manifests.overlays.patch import PatchError
from reconciler.manifests.repo import Manifest, Repo
from reconciler.manifests.validate import did_you_mean

# Documents that hold although nobody wrote them; overlays may change them like any other.
IMPLIED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("Defaults", "defaults"): {},
    ("Target", "local"): {"type": "local"},
}
_OF_KIND = {"Service": "services", "InferenceConfig": "inference", "Target": "targets"}


class _Key(NamedTuple):
    kind: str
    name: str
    number: int


class _Laid(NamedTuple):
    """A document with overrides over it: of which content, and what became of it."""

    base: Manifest
    contents: tuple[str, ...]
    manifest: Manifest | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment of a revision.

    Args:
        name: Of the overlay; "" for the documents as they are.
        repo: The documents as they are here.
        source: The documents as they were loaded.
    """

    name: str
    repo: Repo
    source: Repo
    memory: Mapping[_Key, _Laid] = field(repr=False)


def in_environment(
    repo: Repo, name: str, cache: DocumentCache | None = None, previous: Environment | None = None
) -> Environment:
    """The documents of an environment.

    Overlays that were not chosen are checked as far as they go by themselves; what is wrong with them is a warning
    here, since nothing in this environment comes from them.

    Args:
        name: Of the environment; "" for the documents as they are.
        cache: Remembers documents with their overlays by the ids of both.
        previous: The last result for this environment.
    """
    if previous is not None and previous.name == name and previous.source.files is repo.files:
        return replace(previous, repo=replace(previous.repo, revision=repo.revision), source=repo)
    if not name and not repo.overlays and not any(kind == "Overlay" for kind, _ in repo.broken):
        return Environment(name, repo, repo, {})
    with uncollected():
        return _Laying(repo, name, cache, previous).environment()


class _Laying:
    """One overlay being laid over all documents."""

    def __init__(self, repo: Repo, name: str, cache: DocumentCache | None, previous: Environment | None) -> None:
        self.repo = repo
        self.name = name
        self.cache = cache
        self.before: Mapping[_Key, _Laid] = {}
        if previous is not None and previous.name == name:
            self.before = previous.memory
        self.overlay = repo.overlays.get(name)
        self.overrides: list[Mapping[str, Any]] = self.overlay.spec["overrides"] if self.overlay else []
        self.contents = [digest(override)[:20] for override in self.overrides]
        self.applied = [Applied(f"/spec/overrides/{i}", override) for i, override in enumerate(self.overrides)]
        self.laid: dict[_Key, _Laid] = {}
        self.problems: list[Problem] = []

    def environment(self) -> Environment:
        problems = [self._softened(problem) for problem in self.repo.problems]
        for name, overlay in self.repo.overlays.items():
            problems += map(self._softened, self._selecting_nothing(overlay) if name else ())
        broken = {(kind, name) for kind, name in self.repo.broken if kind != "Overlay"}
        if self.name and self.overlay is None:
            return self._without_overlay(problems, broken)
        kinds: dict[str, Mapping[str, Manifest]] = {}
        for kind, attribute in _OF_KIND.items():
            kinds[kind] = self._of_kind(kind, getattr(self.repo, attribute), broken)
        models = self._models(broken)
        defaults = self._of_kind("Defaults", {"defaults": d} if (d := self.repo.defaults) else {}, broken)
        problems += _grouped(self.problems)
        repo = replace(
            self.repo,
            services=kinds["Service"],
            inference=kinds["InferenceConfig"],
            targets=kinds["Target"],
            models=models,
            defaults=defaults.get("defaults"),
            problems=tuple(sorted(problems, key=lambda problem: problem.sort_key)),
            broken=frozenset(broken),
        )
        return Environment(self.name, repo, self.repo, self.laid)

    def _without_overlay(self, problems: list[Problem], broken: set[tuple[str, str]]) -> Environment:
        """What every service is here cannot be known, so none is touched."""
        broken |= {("Service", name) for name in self.repo.services}
        if ("Overlay", self.name) not in self.repo.broken:
            known = sorted(self.repo.overlays)
            hint = did_you_mean(self.name, known) or (
                f"there is {', '.join(known)}" if known else "an overlay in environments/ makes one"
            )
            problems.append(Problem("unknown-environment", f"there is no environment '{self.name}'", hint=hint))
        problems.sort(key=lambda problem: problem.sort_key)
        repo = replace(self.repo, services={}, problems=tuple(problems), broken=frozenset(broken))
        return Environment(self.name, repo, self.repo, {})

    def _softened(self, problem: Problem) -> Problem:
        """A problem of an overlay that was not chosen stops nothing here."""
        of_overlay = problem.subject.startswith("Overlay/") and problem.subject != f"Overlay/{self.name}"
        return replace(problem, severity=Severity.WARNING) if of_overlay else problem

    def _selecting_nothing(self, overlay: Manifest) -> Iterator[Problem]:
        """Overrides of documents that are not there."""
        for index, override in enumerate(cast("list[Mapping[str, Any]]", overlay.spec["overrides"])):
            kind, name, tags = override["kind"], override.get("name"), override.get("tags")
            at = f"/spec/overrides/{index}"
            documents = self._documents(kind)
            if name is not None and name not in documents:
                if (kind, name) in self.repo.broken or (kind, name) in IMPLIED:
                    continue
                hint = did_you_mean(name, list(documents)) or (
                    f"known: {', '.join(sorted(documents)[:10])}" if documents else "none is declared"
                )
                message = f"there is no {kind} '{name}'"
                yield Problem("dangling-reference", message, overlay.at(f"{at}/name"), hint, overlay.subject)
            elif tags is not None and not any(_has(m, tags) for group in documents.values() for m in group):
                hint = "the override changes nothing; correct its tags, or remove it"
                message = f"no {kind} has {'these tags' if len(tags) > 1 else 'this tag'}"
                where = overlay.at(f"{at}/tags")
                yield Problem("unmatched-override", message, where, hint, overlay.subject, Severity.WARNING)

    def _documents(self, kind: str) -> Mapping[str, Sequence[Manifest]]:
        if kind == "Model":
            return self.repo.models
        if kind == "Defaults":
            return {"defaults": [self.repo.defaults]} if self.repo.defaults else {}
        found: Mapping[str, Manifest] = getattr(self.repo, _OF_KIND[kind])
        return {name: (manifest,) for name, manifest in found.items()}

    def _of_kind(
        self, kind: str, documents: Mapping[str, Manifest], broken: set[tuple[str, str]]
    ) -> Mapping[str, Manifest]:
        select = _Selection(kind, self.overrides)
        if not select.any:
            return documents
        found: dict[str, Manifest] = {}
        for (of_kind, name), spec in IMPLIED.items():
            if of_kind == kind and name not in documents and (kind, name) not in broken and select.names(name):
                assert self.overlay is not None
                position = self.overlay.position
                documents = {**documents, name: Manifest(kind, name, "", {}, spec, position, self.overlay.marks)}
        for name, document in documents.items():
            manifest = self._laid_over(document, _Key(kind, name, 0), select.of(document))
            if manifest is None:
                broken.add((kind, name))
            else:
                found[name] = manifest
        return found

    def _models(self, broken: set[tuple[str, str]]) -> Mapping[str, tuple[Manifest, ...]]:
        select = _Selection("Model", self.overrides)
        if not select.any:
            return self.repo.models
        found: dict[str, tuple[Manifest, ...]] = {}
        for name, documents in self.repo.models.items():
            laid = [self._laid_over(d, _Key("Model", name, n), select.of(d)) for n, d in enumerate(documents)]
            found[name] = tuple(manifest for manifest in laid if manifest is not None)
            if len(found[name]) < len(laid):
                broken.add(("Model", name))
        return found

    def _laid_over(self, base: Manifest, key: _Key, chosen: Sequence[int]) -> Manifest | None:
        """A document with the overrides that are meant for it; None if it cannot be used."""
        if not chosen:
            return base
        assert self.overlay is not None
        contents = tuple([self.contents[index] for index in chosen])
        applied = tuple([self.applied[index] for index in chosen])
        known = self.before.get(key)
        if (
            known is not None
            and known.base is base
            and known.contents == contents
            and isinstance(known.manifest, Manifest)
        ):
            # The overrides say the same; where they stand in the file may have changed.
            cast("Origins", known.manifest.marks).follow(applied, self.overlay)
            self.laid[key] = known
            return known.manifest
        manifest, problems = self._merged(base, applied, contents, key.number)
        self.problems += problems
        self.laid[key] = _Laid(base, contents, manifest, tuple(problems))
        return manifest

    def _merged(
        self, base: Manifest, applied: tuple[Applied, ...], contents: tuple[str, ...], number: int
    ) -> tuple[Manifest | None, list[Problem]]:
        assert self.overlay is not None
        marks = Origins(base, applied, self.overlay)
        file = self.repo.files.get(base.position.file)
        place = f"{file.object_id if file else ''}\0{base.position}\0{base.subject}\0{number}\0{contents}"
        spec = self.cache.laid(place) if self.cache is not None else None
        if spec is None:
            spec, problems = self._made(base, applied)
            if spec is None:
                return None, problems
            if self.cache is not None:
                self.cache.put_laid(place, spec)
        return replace(base, spec=spec, marks=marks), []

    def _made(self, base: Manifest, applied: tuple[Applied, ...]) -> tuple[dict[str, Any] | None, list[Problem]]:
        assert self.overlay is not None
        overlay = self.overlay
        try:
            root = lay(base, applied, overlay.marks)
        except PatchError as error:
            return None, [Problem(error.code, error.message, overlay.at(error.pointer), error.hint, base.subject)]
        from reconciler.manifests.overlays.checking import checked

        return checked(base.kind, base.name, root.plain["spec"], Blame(root, applied, overlay.marks))


def _grouped(problems: Sequence[Problem]) -> Iterator[Problem]:
    """One problem for all documents that have it by the same line of an overlay."""
    same: dict[tuple[str, str, Position | None], list[Problem]] = {}
    for problem in problems:
        same.setdefault((problem.code, problem.message, problem.position), []).append(problem)
    for first, *others in same.values():
        more = f" and {len(others)} other{'s' * (len(others) > 1)}" if others else ""
        yield replace(first, message=f"{first.message}, in {first.subject}{more}")


class _Selection:
    """Which overrides are meant for which documents of one kind, by their index."""

    def __init__(self, kind: str, overrides: Sequence[Mapping[str, Any]]) -> None:
        self._of_name: dict[str, list[int]] = {}
        self._of_all: list[int] = []
        self._of_tags: list[tuple[int, Mapping[str, str]]] = []
        for index, override in enumerate(overrides):
            if override["kind"] != kind:
                continue
            if override.get("name") is not None:
                self._of_name.setdefault(override["name"], []).append(index)
            elif override.get("tags") is not None:
                self._of_tags.append((index, override["tags"]))
            else:
                self._of_all.append(index)
        self.any = bool(self._of_name or self._of_all or self._of_tags)

    def names(self, name: str) -> bool:
        """Whether a document is meant that nobody wrote."""
        return name in self._of_name or (bool(self._of_all) and name == "defaults")

    def of(self, document: Manifest) -> list[int]:
        """The overrides for a document, in their order."""
        found = self._of_name.get(document.name, _NONE)
        if self._of_tags:
            found = found + [index for index, tags in self._of_tags if _has(document, tags)]
        if self._of_all:
            found = found + self._of_all
        return sorted(found) if found else found


_NONE: list[int] = []


def _has(document: Manifest, tags: Mapping[str, str]) -> bool:
    return all(document.tags.get(key) == value for key, value in tags.items())
