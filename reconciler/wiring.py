"""The only place that turns settings into objects; it names every driver, and loads each where it is needed.

Two ways lead out of here: `offline` renders without store, identity or access; `installation` opens everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Never, cast

from reconciler.core.errors import InvalidError
from reconciler.core.problems import Problem

if TYPE_CHECKING:
    from reconciler.artifacts.environments.driver import EnvironmentsDriver
    from reconciler.artifacts.models.driver import ModelsDriver
    from reconciler.core.contents import Contents, Entry, Tree
    from reconciler.core.deployment import Deployment, Target
    from reconciler.core.driver import Driver
    from reconciler.core.resources import ResourceId
    from reconciler.core.secrets import Secret, SecretRef
    from reconciler.core.situation import Rails
    from reconciler.engine.clock import Clock
    from reconciler.engine.daemon.parts import Parts as DaemonParts
    from reconciler.engine.desired import DesiredStates
    from reconciler.engine.identity import Identity
    from reconciler.engine.reconcile import Reconciler
    from reconciler.engine.secrets import SecretScope
    from reconciler.engine.store import Store
    from reconciler.manifests.cache import DocumentCache
    from reconciler.settings import Settings
    from reconciler.source import Source, SourceSettings

OFFLINE = "offline"
_DRIVERS = ("local",)


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies below the state directory."""

    state_dir: Path

    @property
    def database(self) -> Path:
        """The store."""
        return self.state_dir / "state.db"

    @property
    def identity(self) -> Path:
        """Installation id and master key."""
        return self.state_dir / "identity.json"

    @property
    def cache(self) -> Path:
        """What can be made again: parsed documents, mirrors of remotes."""
        return self.state_dir / "cache"

    @property
    def models(self) -> Path:
        """The model registry."""
        return self.state_dir / "models"

    @property
    def model_roots(self) -> Path:
        """Models laid out for those who serve them, one folder a set of versions."""
        return self.state_dir / "model-roots"

    def services(self, target: str) -> Path:
        """The services of a local target."""
        return self.state_dir / "services" / target


def load_settings(file: str | None) -> Settings | None:
    """The operator's settings, or None where neither a file nor a variable gives any.

    Args:
        file: As given on the command line; None looks at RECONCILER_SETTINGS.

    Raises:
        InvalidError: They cannot be read or used.
    """
    named = file or os.environ.get("RECONCILER_SETTINGS") or ""
    ignored = ("RECONCILER_SETTINGS", "RECONCILER_STATE_DIR")
    if not named and not any(name.startswith("RECONCILER_") and name not in ignored for name in os.environ):
        return None
    from reconciler.settings import settings_of

    if not named:
        return settings_of()
    from reconciler.manifests.yaml import parse

    path = Path(named).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidError(
            f"the settings file {named} cannot be read: {error.strerror}",
            hint="`--settings FILE` and RECONCILER_SETTINGS name it; without one, the defaults hold",
        ) from error
    documents, problems = parse(data, named)
    if len(documents) > 1:
        problems.append(Problem("settings-documents", "the settings are one document", documents[1].marks.at()))
    if problems:
        raise InvalidError(f"the settings file {named} cannot be used", problems=problems)
    if not documents:
        return settings_of(file=named)
    marks = documents[0].marks
    return settings_of(documents[0].value, lambda pointer, key: marks.at(pointer, key=key), named)


def source_settings(repo: str, ref: str, path: str, settings: Settings | None) -> SourceSettings:
    """What the source needs to read a repo.

    Raises:
        InvalidError: The password's variable or file is not there.
    """
    from reconciler.source.settings import Credentials, SourceSettings, Verify

    if settings is None:
        return SourceSettings(repo, ref, path)
    given = settings.repo
    verify = None
    if given.verify.allowed_signers or given.verify.gnupg_home:
        verify = Verify(given.verify.allowed_signers, given.verify.gnupg_home)
    credentials = None
    if given.username or given.password_env or given.password_file:
        credentials = Credentials(given.username, _password(settings))
    return SourceSettings(repo, ref, path, credentials=credentials, verify=verify, trusted=given.trusted)


def _password(settings: Settings) -> str:
    repo = settings.repo
    if repo.password_env:
        if repo.password_env not in os.environ:
            raise InvalidError(
                f"the variable {repo.password_env} is not set", hint="the settings name it as repo.passwordEnv"
            )
        return os.environ[repo.password_env]
    if repo.password_file:
        try:
            return repo.password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(
                f"{repo.password_file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}",
                hint="the settings name it as repo.passwordFile",
            ) from error
    return ""


def open_repo(wanted: SourceSettings, places: Places) -> Source:
    """Opens the manifest repo; mirrors of remotes lie in the cache.

    Raises:
        InvalidError, AccessError, UnavailableError: As `open_source`.
    """
    from reconciler.source.source import open_source

    return open_source(wanted, places.cache / "git")


def document_cache(places: Places) -> DocumentCache:
    """The memory of parsed documents; kept in memory only where the cache folder cannot be made."""
    from reconciler.manifests.cache import DocumentCache

    try:
        places.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        places.cache.mkdir(exist_ok=True, mode=0o700)
    except OSError:
        return DocumentCache()
    return DocumentCache(places.cache / "documents")


Drivers = Callable[["Mapping[str, Target]"], "tuple[Mapping[str, Driver], Sequence[Problem]]"]


@dataclass
class TargetDrivers:
    """A driver for each target, kept while the target stays what it is.

    Args:
        make: Makes the driver of a target whose type has one.
        allowed: Names of targets that may be used; None for all.
    """

    make: Callable[[Target], Driver]
    allowed: Sequence[str] | None = None
    _made: dict[str, tuple[Target, Driver]] = field(default_factory=dict[str, "tuple[Target, Driver]"], init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def __call__(self, targets: Mapping[str, Target]) -> tuple[Mapping[str, Driver], Sequence[Problem]]:
        """Drivers by target name, and a problem for each target that has none. Safe to call from many threads."""
        with self._lock:
            return self._of(targets)

    def _of(self, targets: Mapping[str, Target]) -> tuple[Mapping[str, Driver], Sequence[Problem]]:
        found: dict[str, Driver] = {}
        problems: list[Problem] = []
        for name, target in sorted(targets.items()):
            problem = self._refused(target)
            if problem is not None:
                problems.append(problem)
                continue
            known = self._made.get(name)
            if known is None or known[0].type != target.type or known[0].block != target.block:
                if known is not None:
                    known[1].close()
                known = self._made[name] = (target, self.make(target))
            found[name] = known[1]
        return found, problems

    def _refused(self, target: Target) -> Problem | None:
        subject = f"Target/{target.name}"
        if self.allowed is not None and target.name not in self.allowed:
            listed = ", ".join(self.allowed) or "none"
            return Problem(
                "target-not-allowed",
                f"the operator's settings do not allow the target '{target.name}'",
                target.position,
                f"allowed: {listed} (targets.allowed)",
                subject,
            )
        if target.type not in _DRIVERS:
            return Problem(
                "no-driver",
                f"target '{target.name}' is of type {target.type}, which this version cannot deploy to or plan for",
                target.position,
                f"its documents are checked, its services are left alone; types with a driver: {', '.join(_DRIVERS)}",
                subject,
            )
        if target.type == "local" and target.block.get("engine") == "docker":
            return Problem(
                "no-driver",
                f"target '{target.name}' asks for the engine docker, which this version does not have",
                target.position,
                "use `engine: process`, or `auto`",
                subject,
            )
        return None

    def close(self) -> None:
        """Closes the drivers."""
        for _, driver in self._made.values():
            driver.close()
        self._made.clear()


def registries(
    places: Places,
    settings: Settings | None,
    contents: Callable[[], Contents | None],
    references: Callable[[], set[ResourceId]],
) -> tuple[ModelsDriver, EnvironmentsDriver]:
    """The drivers of the built-in registries.

    Args:
        contents: The repo's bytes at the time of the call.
        references: The model versions that some resource still needs.
    """
    from reconciler.artifacts.environments.driver import EnvironmentsDriver
    from reconciler.artifacts.environments.settings import EnvironmentSettings
    from reconciler.artifacts.models.driver import ModelsDriver
    from reconciler.artifacts.models.registry import ModelRegistry
    from reconciler.artifacts.models.settings import ModelSettings

    of_models = ModelSettings(**settings.models.model_dump()) if settings else ModelSettings()
    of_environments = EnvironmentSettings(**settings.environments.model_dump()) if settings else EnvironmentSettings()
    models = ModelsDriver(ModelRegistry(places.models), of_models, contents, references)
    return models, EnvironmentsDriver.on_this_machine(places.state_dir, of_environments, os.environ)


@dataclass(frozen=True, slots=True)
class Offline:
    """What renders revisions without identity, store or access; secrets stay references."""

    states: DesiredStates
    targets: TargetDrivers
    registries: Sequence[Driver]

    def drivers(self, targets: Mapping[str, Target]) -> dict[str, Driver]:
        """Drivers of some targets and of the registries, by target name."""
        found, _ = self.targets(targets)
        return {**{driver.target: driver for driver in self.registries}, **found}


def offline(places: Places, settings: Settings | None, cache: DocumentCache) -> Offline:
    """The parts of an offline plan; nothing is opened, nothing is made but the cache."""
    from reconciler.engine.desired import DesiredStates

    drivers = TargetDrivers(_renderer, settings.targets.allowed if settings else None)
    built_in = registries(places, settings, lambda: None, set)
    return Offline(DesiredStates(drivers, built_in, lambda deployment: (deployment, []), cache), drivers, built_in)


def _renderer(target: Target) -> Driver:
    """A local target's driver that is only ever asked to render."""
    from reconciler.targets.local.process.driver import ProcessDriver
    from reconciler.targets.local.process.staging import Parts

    def never(*_: object) -> Never:
        raise AssertionError("an offline plan reaches for the target")

    nothing = Parts(cast("Any", None), never, never, never, never)
    return ProcessDriver(target.name, OFFLINE, Path(os.devnull), nothing)


def rails(settings: Settings | None) -> Rails:
    """The thresholds of the safety rails."""
    from reconciler.core.situation import Rails

    return Rails(settings.rails.max_delete_percent, settings.rails.min_resources) if settings else Rails()


class Bytes:
    """The repo's bytes as of the newest tree that was read: what drivers are given before there is a tree."""

    def __init__(self) -> None:
        self.newest: Contents | None = None

    def files(self, object_id: str) -> Iterator[Entry]:
        """Every file of a tree; see `core.contents.Contents`."""
        return self._there().files(object_id)

    def open(self, object_id: str) -> BinaryIO:
        """A stream over a blob; see `core.contents.Contents`."""
        return self._there().open(object_id)

    def _there(self) -> Contents:
        if self.newest is None:
            raise InvalidError("no revision of the manifest repo has been read yet")
        return self.newest


class Keyring:
    """Secrets for deployments; rotation counters are read anew with every tree."""

    def __init__(self, identity: Identity, scope: SecretScope, store: Store) -> None:
        self._identity = identity
        self._scope = scope
        self._store = store
        self.refresh()

    def refresh(self) -> None:
        """Reads the rotation counters."""
        from reconciler.engine.secrets import Secrets

        self._secrets = Secrets(self._identity, self._scope, self._store.rotations())

    def fill(self, deployment: Deployment) -> tuple[Deployment, list[Problem]]:
        """See `Secrets.fill`."""
        return self._secrets.fill(deployment)

    def reveal(self, secret: Secret | SecretRef) -> str:
        """The text of a secret, at the moment it is handed to a target.

        Raises:
            TerminalError: It is not there any more, or not allowed any more.
        """
        from reconciler.core.errors import TerminalError
        from reconciler.core.secrets import Secret
        from reconciler.engine.secrets import SecretError

        if isinstance(secret, Secret) and secret.text is not None:
            return secret.reveal()
        ref = secret.ref if isinstance(secret, Secret) else secret
        if ref is None:
            raise TerminalError("a secret is known by its fingerprint alone", hint="apply again from Git")
        if ref.source == "generated":
            service, slot, rotation = ref.name.rsplit("/", 2)
            return self._identity.service_key(service, slot, int(rotation)).reveal()
        try:
            return self._secrets.resolve(ref).reveal()
        except SecretError as error:
            raise TerminalError(str(error)) from error


@dataclass
class Installation:
    """Everything of one installation, opened; close it when done."""

    places: Places
    settings: Settings | None
    identity: Identity
    store: Store
    clock: Clock
    targets: TargetDrivers
    registries: Sequence[Driver]
    reconciler: Reconciler
    keyring: Keyring
    newest: Bytes
    cache: DocumentCache
    owns_store: bool = True

    def use(self, tree: Tree) -> Tree:
        """Makes a tree's bytes, and the secrets of this moment, those that drivers get."""
        self.newest.newest = tree.contents
        self.keyring.refresh()
        return tree

    def close(self) -> None:
        """Ends drivers and store, and keeps what was parsed."""
        self.cache.save()
        self.targets.close()
        for driver in self.registries:
            driver.close()
        if self.owns_store:
            self.store.close()


def open_store(places: Places) -> Store:
    """The record alone, for commands that only read or note something.

    Raises:
        InvalidError: It is damaged, not writable, or of another release.
    """
    from reconciler.engine.clock import SystemClock
    from reconciler.engine.store import Store

    return Store(places.database, SystemClock())


def installation(
    places: Places, settings: Settings | None, source: Callable[[], Tree], given: Store | None = None
) -> Installation:
    """Opens an installation: store, identity, drivers, engine.

    Args:
        source: Gives the tree of the revision to reconcile.
        given: The store, where it is open already; it stays open.

    Raises:
        InvalidError: The state directory, the store or the identity cannot be used.
    """
    from reconciler.engine.clock import SystemClock
    from reconciler.engine.desired import DesiredStates
    from reconciler.engine.identity import load_identity
    from reconciler.engine.reconcile import Reconciler
    from reconciler.engine.secrets import SecretScope
    from reconciler.engine.store import Store

    make_private(places.state_dir)
    clock = SystemClock()
    identity = load_identity(places.identity)
    store = given or Store(places.database, clock)
    scope = SecretScope(settings.secrets.env_prefixes, settings.secrets.folders) if settings else SecretScope()
    keyring = Keyring(identity, scope, store)
    newest = Bytes()

    def references() -> set[ResourceId]:
        return {needed for baseline in store.baselines().values() for needed in baseline.depends_on}

    models, environments = registries(places, settings, lambda: newest.newest, references)

    def make(target: Target) -> Driver:
        from reconciler.artifacts.environments.places import environment_python
        from reconciler.artifacts.environments.runtime import runtime_path
        from reconciler.targets.local.process.driver import ProcessDriver
        from reconciler.targets.local.process.staging import Parts

        parts = Parts(
            newest,
            lambda of: environment_python(places.state_dir, of),
            lambda: runtime_path(places.state_dir),
            lambda of: model_root(models, places, of),
            keyring.reveal,
        )
        return ProcessDriver(target.name, identity.installation, places.services(target.name), parts)

    targets = TargetDrivers(make, settings.targets.allowed if settings else None)
    cache = document_cache(places)
    built_in = (models, environments)
    reconciler = Reconciler(
        source,
        DesiredStates(targets, built_in, keyring.fill, cache),
        targets,
        built_in,
        store,
        clock,
        identity.installation,
        rails(settings),
    )
    opened = Installation(
        places, settings, identity, store, clock, targets, built_in, reconciler, keyring, newest, cache, given is None
    )
    reconciler.source = lambda: opened.use(source())
    return opened


def make_private(folder: Path) -> None:
    """Makes a folder that only its owner can enter.

    Raises:
        InvalidError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidError(
            f"the state directory {folder} cannot be made: {error.strerror}",
            hint="name another one with --state-dir or RECONCILER_STATE_DIR",
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidError(
            f"the state directory {folder} is not writable",
            hint="name another one with --state-dir or RECONCILER_STATE_DIR",
        )


def model_root(driver: ModelsDriver, places: Places, models: Sequence[Mapping[str, Any]]) -> Path:
    """Lays model versions out for an entry script: one folder a set of versions, shared by all that serve it.

    Returns:
        The value of AZUREML_MODEL_DIR.
    """
    from reconciler.core.deployment import ModelVersion
    from reconciler.core.values import digest

    versions = [ModelVersion(str(m["name"]), str(m["version"]), m.get("digest")) for m in models]
    name = digest(sorted([v.name, v.version, v.digest] for v in versions))[:16]
    return driver.registry.materialise(versions, places.model_roots / name)


def daemon_parts(places: Places, settings: Settings | None, wanted: SourceSettings, store: Store) -> DaemonParts:
    """What the daemon is made of; made anew when settings are reloaded.

    Raises:
        InvalidError: The repo or the settings cannot be used.
    """
    from reconciler.engine.daemon.parts import Options, Poll
    from reconciler.engine.daemon.parts import Parts as DaemonParts
    from reconciler.source.local import LocalSource

    source = open_repo(wanted, places)
    opened = installation(places, settings, source.tree, store)
    options = Options()
    if settings is not None:
        options = Options(full_look_seconds=settings.daemon.full_look_seconds, workers=settings.daemon.workers)

    def close() -> None:
        opened.close()
        source.close()

    if isinstance(source, LocalSource):
        from reconciler.source.watch import Watch

        repository = source.repository
        watch = Watch(repository.git_folder, repository.common_folder)
        return DaemonParts(opened.reconciler, (watch.events,), None, options, close)
    seconds = settings.repo.poll_seconds if settings else 30.0
    return DaemonParts(opened.reconciler, (), Poll(source.peek, seconds), options, close)
