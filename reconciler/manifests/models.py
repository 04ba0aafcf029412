"""Model documents to model versions: which number, which bytes.

The bytes of a file in the repo are known. Of those behind an address it is known what the document says (`sha256`),
what `model.lock` says, or, where a model follows its address, what was registered from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.deployment import ModelVersion
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Problem, Severity, errors_of
from reconciler.core.sources import SourceState, Watched
from reconciler.manifests.cache import DocumentCache
from reconciler.manifests.content import Content, content_of
from reconciler.manifests.model_lock import COMMAND, FILE, Locked, ModelLock, key_of, lockable, mode_of
from reconciler.manifests.paths import Missing, located
from reconciler.manifests.repo import Manifest, Repo

# Which versions the model registry holds: name -> version -> `sha256:…` (None where it is not known).
Registered = Mapping[str, Mapping[str, str | None]]


@dataclass(frozen=True, slots=True)
class Pin:
    """What holds for the bytes behind the address of one document.

    Args:
        mode: `pin`, `follow`, `warn`, or "" where nobody says.
        locked: The lock's entry.
        needed: The lock knows other numbers or addresses of this model.
        broken: There is a lock that cannot be read.
        state: What stands there now, where that was asked.
    """

    mode: str = ""
    locked: Locked | None = None
    needed: bool = False
    broken: bool = False
    state: SourceState | None = None


class Pins:
    """Makes pins: of the lock, the repo's defaults, and what registries found at the addresses."""

    def __init__(
        self, lock: ModelLock, defaults: Manifest | None, states: Mapping[Watched, SourceState] | None = None
    ) -> None:
        self._lock = lock
        self._defaults = defaults
        self._states = states or {}
        self._names = lock.names

    def of(self, document: Manifest) -> Pin:
        """The pin of a document with an address and no `sha256`."""
        mode = mode_of(document, self._defaults)
        if mode == "follow":
            return Pin(mode, state=self._states.get(Watched(document.name, document.spec["uri"])))
        locked = self._lock.entries.get(key_of(document))
        state = self._states.get(_watched(document, locked)) if mode == "warn" and locked is not None else None
        return Pin(mode, locked, document.name in self._names, bool(self._lock.problems), state)


def watched(repo: Repo, lock: ModelLock) -> list[Watched]:
    """The addresses that have to be asked whether their content is still the same."""
    found: list[Watched] = []
    for document in lockable(repo):
        mode = mode_of(document, repo.defaults)
        locked = lock.entries.get(key_of(document))
        if mode == "follow":
            found.append(Watched(document.name, document.spec["uri"]))
        elif mode == "warn" and locked is not None:
            found.append(_watched(document, locked))
    return found


def _watched(document: Manifest, locked: Locked) -> Watched:
    return Watched(document.name, document.spec["uri"], locked.said)


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
    pins: Pins,
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
        if path is None:
            objects.append(None if document.spec.get("sha256") is not None else pins.of(document))
            continue
        found = located(tree, path, document)
        objects.append(found if isinstance(found, Missing) else found.object_id)
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
    ordered = sorted(zip(documents, objects, strict=True), key=lambda each: each[0].spec.get("version") is None)
    numbered = {**earlier, **registered}
    sound = True
    for document, found in ordered:
        if isinstance(found, Pin):
            version, wrong = _pinned(document, found, registered, versions, numbered)
        else:
            version, wrong = _version(document, tree, registered, versions, cache, numbered)
        problems += wrong
        if version is not None:
            versions[version.version] = version
        sound = sound and version is not None
    return ModelFamily(name, versions, dict(registered), inputs, tuple(problems), sound, dict(earlier))


def _same(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    return len(before) == len(after) and all(
        one is other or (isinstance(one, (str, Missing, Pin)) and one == other)
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
    if spec.get("path") is not None:
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
    problems += _taken(document, number, digest, registered)
    if problems:
        return None, problems
    made = _made(document, number, digest or registered.get(number))
    size, lfs = (content.size, content.lfs) if content else (None, False)
    return replace(made, size=size, path=path, object_id=object_id, folder=folder, lfs=lfs), []


def _pinned(
    document: Manifest,
    pin: Pin,
    registered: Mapping[str, str | None],
    declared: Mapping[str, ModelVersion],
    numbered: Mapping[str, str | None],
) -> tuple[ModelVersion | None, list[Problem]]:
    """The version of a model behind an address, whose bytes its document does not fix."""
    if pin.mode == "follow":
        return _following(document, pin.state, registered, declared)
    if pin.broken:
        return None, []
    number = document.spec.get("version")
    if pin.locked is None:
        problem = _unlocked(document, pin, number)
        if problem is not None:
            return None, [problem]
        return _made(document, str(number), registered.get(str(number))), []
    digest = pin.locked.digest
    number = str(number) if number is not None else _next(digest, numbered, declared)
    problems = list(_taken(document, number, digest, registered))
    state = pin.state
    if state is not None and state.moved:
        hint = f"what is locked stays; `{COMMAND} {document.name}` takes the change"
        problems.append(_moved(document, f"those in {FILE}", state.moved, hint))
    elif state is not None and state.silent:
        problems.append(_silent(document, state.silent))
    if errors_of(problems):
        return None, problems
    return replace(_made(document, number, digest), size=pin.locked.size), problems


def _following(
    document: Manifest,
    state: SourceState | None,
    registered: Mapping[str, str | None],
    declared: Mapping[str, ModelVersion],
) -> tuple[ModelVersion, list[Problem]]:
    """The version registered from there, while the bytes are the same; a new one as soon as they are not."""
    problems: list[Problem] = []
    if state is not None and state.silent:
        problems.append(_silent(document, state.silent))
    if state is not None and state.version and not state.moved:
        return _made(document, state.version, state.digest), problems
    unclaimed = [number for number in registered if number not in declared] if state is None else []
    if unclaimed:
        # Nobody could be asked, so what is known stands.
        number = max(unclaimed, key=int)
        return _made(document, number, registered[number]), problems
    number = _next(None, registered, declared)
    if state is not None and state.moved:
        hint = "the model follows its address; `lock: pin` would keep what it is"
        problems.append(_moved(document, f"those of version {state.version}", state.moved, hint))
    return _made(document, number, None), problems


def _unlocked(document: Manifest, pin: Pin, number: int | None) -> Problem | None:
    """Why a model without an entry in the lock cannot be used; None if its number will do."""
    at, subject = document.at("/spec/uri"), document.subject
    if pin.mode or pin.needed:
        other = f"{FILE} has it with another number or address" if pin.needed else f"{FILE} does not have it"
        message = f"{other}, so what is behind this `uri` is not known"
        return Problem("model-not-locked", message, at, f"`{COMMAND}` looks, and writes it down", subject)
    if number is not None:
        return None
    hint = f"`{COMMAND}` looks, and writes it down; or add `sha256`, or a `version` to raise when the bytes change"
    message = "planning cannot tell which bytes are behind a `uri`"
    return Problem("model-unknown-content", message, at, hint, subject)


def _moved(document: Manifest, which: str, difference: str, hint: str) -> Problem:
    message = f"the bytes behind this `uri` are not {which} any more: {difference}"
    at = document.at("/spec/uri")
    return Problem("model-source-changed", message, at, hint, document.subject, Severity.WARNING)


def _silent(document: Manifest, why: str) -> Problem:
    message = f"whether the bytes behind this `uri` are still the same is not known: {why}"
    at = document.at("/spec/uri")
    return Problem("model-source-silent", message, at, "what is known stays", document.subject, Severity.WARNING)


def _taken(
    document: Manifest, number: str, digest: str | None, registered: Mapping[str, str | None]
) -> Iterator[Problem]:
    known = registered.get(number)
    if known is not None and digest is not None and known != digest:
        message = f"version {number} of this model is registered with other bytes: {known}, here {digest}"
        hint = "versions do not change: raise `version`, or leave it out to get the next number"
        yield Problem("model-version-taken", message, document.at("/spec/version"), hint, document.subject)


def _made(document: Manifest, number: str, digest: str | None) -> ModelVersion:
    spec = document.spec
    return ModelVersion(
        name=document.name,
        version=number,
        digest=digest,
        uri=spec.get("uri") or "",
        framework=spec.get("framework", "Custom"),
        framework_version=spec.get("frameworkVersion") or "",
        description=document.description,
        tags=document.tags,
        properties=spec.get("properties", {}),
        position=document.position,
    )


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
    same: list[str] = []
    if digest is not None:
        same += [number for number, known in registered.items() if known == digest]
        same += [number for number, version in declared.items() if version.digest == digest]
    if same:
        return max(same, key=int)
    return str(max((int(number) for number in (*registered, *declared)), default=0) + 1)
