"""Model documents to model versions: which number, which bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass, field
from reconciler.core.deployment import ModelVersion
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Problem
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.content import Content, content_of
from reconciler.manifests.paths import Missing, located
from reconciler.manifests.repo import Manifest

# Which versions the model registry holds: name -> version -> `sha256:…` (None where it is not known).
Registered = Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """All versions of one name.

    Args:
        versions: By number, of those declared in the repo.
        registered: The registered ones the result was made from.
        inputs: What it was made from, to tell whether it still holds.
        sound: Every document of the name could be used.
        earlier: Registered versions of the name it had before, whose numbers it carries on.
    """

    name: str
    versions: Mapping[str, ModelVersion]
    registered: Mapping[str, str | None]
    inputs: tuple[object, ...]
    problems: tuple[Problem, ...] = ()
    sound: bool = True
    earlier: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    older: dict[str, ModelVersion] = field(default_factory=dict[str, ModelVersion], compare=False)

    def find(self, version: int | str) -> ModelVersion | None:
        """A version by number, or `latest`: the highest declared, or, where none is, the highest registered.

        What Git declares comes first, so that reverting a commit takes a service back to the earlier version although
        the registry still holds the later one.
        """
        if version == "latest":
            known = self.versions or self.registered
            if not known:
                return None
            version = max(known, key=int)
        wanted = str(version)
        found = self.versions.get(wanted) or self.older.get(wanted)
        if found is None and wanted in self.registered:
            found = self.older[wanted] = ModelVersion(self.name, wanted, self.registered[wanted])
        return found

    def known(self) -> list[str]:
        """All versions there are, for did-you-mean."""
        return sorted({*self.versions, *self.registered}, key=int)


def resolve_models(
    name: str,
    documents: tuple[Manifest, ...],
    tree: Tree,
    registered: Mapping[str, str | None],
    cache: DocumentCache | None,
    previous: ModelFamily | None,
    earlier: Mapping[str, str | None] | None = None,
) -> ModelFamily:
    """The versions of one name.

    Args:
        earlier: What is registered under the name it had before.
        previous: The last result; it is returned as it is if nothing it was made from differs.
    """
    objects: list[object] = []
    for document in documents:
        path = document.spec.get("path")
        found = located(tree, path, document) if path is not None else None
        objects.append(found.object_id if found is not None and not isinstance(found, Missing) else found)
    inputs = (*documents, *objects)
    earlier = earlier or {}
    if (
        previous is not None
        and _same(previous.inputs, inputs)
        and previous.registered == registered
        and previous.earlier == earlier
    ):
        return previous
    problems: list[Problem] = []
    versions: dict[str, ModelVersion] = {}
    # Explicit numbers first: one without a number goes behind them.
    for document in sorted(documents, key=lambda document: document.spec.get("version") is None):
        version, wrong = _version(document, tree, registered, versions, cache, {**earlier, **registered})
        problems += wrong
        if version is not None:
            versions[version.version] = version
    return ModelFamily(name, versions, dict(registered), inputs, tuple(problems), len(problems) == 0, dict(earlier))


def _same(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    return len(before) == len(after) and all(
        one is other or (isinstance(one, (str, Missing)) and one == other)
        for one, other in zip(before, after, strict=True)
    )


def _version(
    document: Manifest,
    tree: Tree,
    registered: Mapping[str, str | None],
    declared: Mapping[str, ModelVersion],
    cache: DocumentCache | None,
    numbered: Mapping[str, str | None],
) -> tuple[ModelVersion | None, list[Problem]]:
    spec = document.spec
    path, object_id, folder, content = "", "", False, None
    if "path" in spec:
        found = located(tree, spec["path"], document)
        if isinstance(found, Missing):
            return None, [found.problem(document, "/spec/path", "model file")]
        path, object_id, folder = found.path, found.object_id, found.folder
        try:
            content = content_of(tree.contents, object_id, folder=folder, cache=cache)
        except (InvalidError, FileNotFoundError) as exc:
            hint = exc.hint if isinstance(exc, InvalidError) else "a model needs at least one file"
            return None, [Problem("model-unreadable", str(exc), document.at("/spec/path"), hint, document.subject)]
    problems = list(_mismatch(document, content))
    digest = content.digest if content else _prefixed(spec.get("sha256"))
    number = str(spec["version"]) if spec.get("version") is not None else _next(digest, numbered, declared)
    known = registered.get(number)
    if known is not None and digest is not None and known != digest:
        message = f"version {number} of this model is registered with other bytes: {known}, here {digest}"
        hint = "versions do not change: raise `version`, or leave it out to get the next number"
        problems.append(Problem("model-version-taken", message, document.at("/spec/version"), hint, document.subject))
    if problems:
        return None, problems
    version = ModelVersion(
        name=document.name,
        version=number,
        digest=digest or known,
        size=content.size if content else None,
        path=path,
        object_id=object_id,
        folder=folder,
        uri=spec.get("uri", ""),
        lfs=content.lfs if content else False,
        framework=spec.get("framework", "Custom"),
        framework_version=spec.get("frameworkVersion", ""),
        description=document.description,
        tags=document.tags,
        properties=spec.get("properties", {}),
        position=document.position,
    )
    return version, []


def _mismatch(document: Manifest, content: Content | None) -> Iterator[Problem]:
    declared = _prefixed(document.spec.get("sha256"))
    if content is not None and declared is not None and declared != content.digest:
        message = f"the bytes are not those declared: sha256 says {declared}, the file has {content.digest}"
        hint = "put the right file there, or correct `sha256`"
        yield Problem("model-digest-mismatch", message, document.at("/spec/sha256"), hint, document.subject)


def _prefixed(sha256: str | None) -> str | None:
    return None if sha256 is None else "sha256:" + sha256.removeprefix("sha256:")


def _next(digest: str | None, registered: Mapping[str, str | None], declared: Mapping[str, ModelVersion]) -> str:
    """The number of a model that names none: of the same bytes if there are such, else the one after the highest."""
    same = [number for number, known in registered.items() if known == digest]
    same += [number for number, version in declared.items() if version.digest == digest]
    if same:
        return max(same, key=int)
    return str(max((int(number) for number in (*registered, *declared)), default=0) + 1)
