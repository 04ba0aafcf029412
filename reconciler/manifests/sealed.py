"""References into files that sops encrypted: checked, and completed with what tells their values apart.

Nothing here needs a key: a plan can say that a value changed, and a manifest's author learns that it is not there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, cast

from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass, replace
from reconciler.core.deployment import Deployment
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Problem
from reconciler.core.sealed import SealedFile
from reconciler.core.secrets import SecretRef
from reconciler.core.values import escape, lookup, transform
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.paths import Found, Missing, located
from reconciler.manifests.repo import Manifest
from reconciler.manifests.validate import did_you_mean

MOST_BYTES = 1 << 20


def sealed_in(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Pointers to the references into encrypted files, below the `spec` of a manifest in normal form."""
    # Nearly all have none, which their text shows ten times as fast as a walk through them.
    return tuple(_references(spec, "/spec")) if "'sops'" in repr(spec) else ()


def _references(value: Any, pointer: str) -> Iterator[str]:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        source: Any = items.get("valueFrom")
        if isinstance(source, dict) and cast("dict[str, Any]", source).get("sops") is not None:
            yield f"{pointer}/valueFrom/sops"
        for key, inner in items.items():
            yield from _references(inner, f"{pointer}/{escape(key)}")
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _references(inner, f"{pointer}/{index}")


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted file at one revision, or why it cannot be used."""

    path: str
    object_id: str
    file: SealedFile | None = None
    message: str = ""
    hint: str = ""


class SealedFiles:
    """The encrypted files that manifests of one revision refer to.

    Args:
        before: Those of the last revision; a file with the same bytes stays the same object.
    """

    def __init__(self, tree: Tree, cache: DocumentCache | None, before: Mapping[str, Sealed]) -> None:
        self._tree, self._cache, self._before = tree, cache, before
        self.known: dict[str, Sealed] = {}
        self.problems: dict[str, list[Problem]] = {}

    def changed(self) -> frozenset[str]:
        """Paths of the last revision's files that are other ones now."""
        return frozenset(path for path, file in self._before.items() if self._object_id(path) != file.object_id)

    def _object_id(self, path: str) -> str | None:
        try:
            return self._tree.object_id(path)
        except InvalidError:
            return None

    def of(self, document: Manifest) -> list[Problem]:
        """What is wrong with a document's references."""
        if not document.sealed:
            return []
        found = self.problems.get(document.subject)
        if found is None:
            found = self.problems[document.subject] = [
                problem for pointer in document.sealed if (problem := self._check(document, pointer)) is not None
            ]
        return found

    def files_of(self, document: Manifest) -> list[Sealed]:
        """The files that a document's references lead to, as far as they are there; after `of`."""
        places = {posixpath.normpath(lookup(document.spec, p.removeprefix("/spec"))["file"]) for p in document.sealed}
        return [self.known[path] for path in sorted(places) if path in self.known]

    def _check(self, document: Manifest, pointer: str) -> Problem | None:
        where = lookup(document.spec, pointer.removeprefix("/spec"))
        place = located(self._tree, where["file"], document)
        if isinstance(place, Missing):
            return place.problem(document, f"{pointer}/file", "encrypted file")
        sealed = self._read(place)
        if sealed.file is None:
            at = document.at(f"{pointer}/file")
            return Problem("sops-file", sealed.message, at, sealed.hint, document.subject)
        digest = sealed.file.values.get(where["key"])
        at = document.at(f"{pointer}/key")
        if digest is None:
            known = [key for key, value in sealed.file.values.items() if value]
            hint = did_you_mean(where["key"], known) or _listed(known)
            message = f"{place.path} has no single value at this pointer"
            return Problem("sops-key", message, at, hint, document.subject)
        if not digest:
            message = f"this value stands in {place.path} in plain text"
            hint = f"let sops encrypt it, and change it: who can read the repo knows it ({place.path})"
            return Problem("sops-plain", message, at, hint, document.subject)
        return None

    def _read(self, place: Found) -> Sealed:
        known = self.known.get(place.path) or self._before.get(place.path)
        if known is None or known.object_id != place.object_id:
            known = self._parsed(place)
        self.known[place.path] = known
        return known

    def _parsed(self, place: Found) -> Sealed:
        fact = self._cache.fact("sops", place.object_id) if self._cache is not None else None
        if fact is not None:
            return Sealed(place.path, place.object_id, SealedFile(*fact))
        from reconciler.manifests.sops import parse_sealed

        try:
            file = parse_sealed(self._tree.read(place.path, MOST_BYTES), place.path)
        except InvalidError as exc:
            return Sealed(place.path, place.object_id, None, exc.message, exc.hint)
        if self._cache is not None:
            self._cache.remember("sops", place.object_id, (file.format, dict(file.values), file.keys, file.vaults))
        return Sealed(place.path, place.object_id, file)

    def complete(self, value: Any) -> Any:
        """A value with what is known of its references into encrypted files."""
        return transform(value, self._completed)

    def _completed(self, leaf: Any) -> Any:
        if not isinstance(leaf, SecretRef) or leaf.source != "sops":
            return leaf
        path, _, pointer = leaf.name.partition("#")
        path = posixpath.normpath(path)
        sealed = self.known.get(path)
        digest = sealed.file.values.get(pointer, "") if sealed is not None and sealed.file is not None else ""
        return SecretRef("sops", f"{path}#{pointer}", digest, sealed.object_id if sealed is not None else "")

    def completed(self, deployment: Deployment) -> Deployment:
        """The same for every place of a deployment in which a secret may stand."""
        auth, settings, image = deployment.auth, deployment.settings, deployment.image
        registry = image.registry
        if registry is not None:
            registry = replace(
                registry, username=self.complete(registry.username), password=self.complete(registry.password)
            )
        return replace(
            deployment,
            auth=replace(auth, primary=self.complete(auth.primary), secondary=self.complete(auth.secondary)),
            settings=replace(
                settings,
                environment_variables=self.complete(settings.environment_variables),
                block=self.complete(settings.block),
            ),
            image=replace(image, registry=registry),
        )


def _listed(known: list[str]) -> str:
    if not known:
        return "no value in it is encrypted"
    return f"there is {', '.join(known[:10])}{' …' if len(known) > 10 else ''}"
