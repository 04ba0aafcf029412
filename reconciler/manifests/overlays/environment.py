"""The documents of one environment: those of the repo with the overlay of that name laid over them.

What neither changed in the document nor in what is laid over it stays the same object from one revision to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.problems import Position, Problem, Severity
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.collecting import uncollected
from reconciler.manifests.overlays.origins import Applied, Blame, Origins, lay
from reconciler.manifests.overlays.patch import PatchError
from reconciler.manifests.overlays.selection import Chosen, Selection, has_tags
from reconciler.manifests.repo import Manifest, Repo
from reconciler.manifests.sealed import sealed_in
from reconciler.manifests.validate import did_you_mean

# Documents that hold although nobody wrote them; overlays may change them like any other.
IMPLIED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("Defaults", "defaults"): {},
    ("Target", "local"): {"type": "local"},
}
_OF_KIND = {"Service": "services", "InferenceConfig": "inference", "Target": "targets"}


class _Laid(NamedTuple):
    """A document with overrides over it: of which content ("" for none), and what became of it."""

    base: Manifest
    content: str
    manifest: Manifest | None


# By kind, then by name; of models, by name and number.
_Memory: TypeAlias = Mapping[str, Mapping[str, _Laid]]


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
    memory: _Memory = field(repr=False)


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
        self.overlay = repo.overlays.get(name)
        self.before: _Memory = {}
        self.same = False
        if previous is not None and previous.name == name:
            self.before = previous.memory
            self.same = previous.source.overlays.get(name) is self.overlay
        self.laid: dict[str, dict[str, _Laid]] = {}
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
            elif tags is not None and not any(has_tags(m, tags) for group in documents.values() for m in group):
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
        select = Selection(kind, self.overlay)
        if not select:
            return documents
        for (of_kind, name), spec in IMPLIED.items():
            if of_kind == kind and name not in documents and (kind, name) not in broken and select.names(name):
                documents = {**documents, name: self._implied(kind, name, spec)}
        laid = self._laid_over(kind, documents, select)
        broken |= {(kind, name) for name, each in laid.items() if each.manifest is None}
        return {name: each.manifest for name, each in laid.items() if each.manifest is not None}

    def _implied(self, kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
        """A document that nobody wrote, standing where the overlay does."""
        assert self.overlay is not None
        made = Manifest(kind, name, "", {}, spec, self.overlay.position, self.overlay.marks)
        known = self.before.get(kind, {}).get(name)
        return known.base if known is not None and known.base == made else made

    def _models(self, broken: set[tuple[str, str]]) -> Mapping[str, tuple[Manifest, ...]]:
        select = Selection("Model", self.overlay)
        if not select:
            return self.repo.models
        one_by_one = {
            f"{name} {number}": document
            for name, documents in self.repo.models.items()
            for number, document in enumerate(documents)
        }
        laid = self._laid_over("Model", one_by_one, select)
        broken |= {("Model", each.base.name) for each in laid.values() if each.manifest is None}
        found: dict[str, list[Manifest]] = {}
        for each in laid.values():
            found.setdefault(each.base.name, []).extend([each.manifest] if each.manifest is not None else [])
        return {name: tuple(manifests) for name, manifests in found.items()}

    def _laid_over(self, kind: str, documents: Mapping[str, Manifest], select: Selection) -> dict[str, _Laid]:
        """Documents with the overrides that are meant for them, by the same keys."""
        before, same = self.before.get(kind, {}), self.same
        laid = self.laid[kind] = {}
        for key, document in documents.items():
            known = before.get(key)
            if known is not None and known.base is not document:
                known = None
            if known is None or not same or known.manifest is None:
                known = self._one(key, document, select.of(document), known)
            laid[key] = known
        return laid

    def _one(self, key: str, base: Manifest, chosen: Chosen | None, known: _Laid | None) -> _Laid:
        if chosen is None:
            return _Laid(base, "", base)
        assert self.overlay is not None
        if known is not None and known.content == chosen.content and known.manifest is not None:
            # The overrides say the same; where they stand in the file may have changed.
            cast("Origins", known.manifest.marks).follow(chosen.applied, self.overlay)
            return known
        file = self.repo.files.get(base.position.file)
        place = f"{file.object_id if file else ''}\0{base.position.line}\0{base.kind} {key}\0{chosen.content}"
        spec, problems = self.cache.laid(place) if self.cache is not None else None, ()
        if spec is None:
            spec, problems = self._made(base, chosen.applied)
            if spec is None:
                self.problems += problems
                return _Laid(base, chosen.content, None)
            if self.cache is not None:
                self.cache.put_laid(place, spec)
        marks = Origins(base, chosen.applied, self.overlay)
        sealed = sealed_in(spec) if base.sealed or self.overlay.sealed else ()
        return _Laid(base, chosen.content, replace(base, spec=spec, marks=marks, sealed=sealed))

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
