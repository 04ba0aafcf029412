"""An installation with everything opened: store, identity, drivers, engine, and the parts of its daemon."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from reconciler.core.dataclass import dataclass
from reconciler.wiring.containers import images_driver, local_driver
from reconciler.wiring.drivers import TargetDrivers
from reconciler.wiring.keyring import Bytes, keyring_of
from reconciler.wiring.operator import rails
from reconciler.wiring.places import Places, document_cache, make_private, open_repo

if TYPE_CHECKING:
    from reconciler.core.contents import Tree
    from reconciler.core.deployment import Target
    from reconciler.core.driver import Driver
    from reconciler.core.resources import ResourceId
    from reconciler.core.situation import Situation
    from reconciler.engine.clock import Clock
    from reconciler.engine.daemon.announcing import Announcement
    from reconciler.engine.daemon.parts import Parts as DaemonParts
    from reconciler.engine.daemon.published import Publish
    from reconciler.engine.identity import Identity
    from reconciler.engine.importing import Importing
    from reconciler.engine.keynames import Names
    from reconciler.engine.reconcile import Reconciler
    from reconciler.engine.secrets import Keyring
    from reconciler.engine.snapshot.signing import Signer
    from reconciler.engine.store import Store
    from reconciler.manifests.cache import DocumentCache
    from reconciler.secrets.sources import Sources
    from reconciler.settings import Settings
    from reconciler.source import Source, SourceSettings


@dataclass
class Installation:
    """Everything of one installation, opened; close it when done."""

    places: Places
    settings: Settings | None
    identity: Identity
    store: Store
    clock: Clock
    targets: TargetDrivers[Driver]
    registries: Sequence[Driver]
    reconciler: Reconciler
    keyring: Keyring
    sources: Sources
    newest: Bytes
    cache: DocumentCache
    owns_store: bool = True

    def use(self, tree: Tree) -> Tree:
        """Makes a tree's bytes, and the secrets of this moment, those that drivers get."""
        self.newest.tree = tree
        self.keyring.begin()
        return tree

    def close(self) -> None:
        """Ends drivers and store, and keeps what was parsed."""
        self.cache.save()
        for driver in (*self.targets.taken(), *self.registries):
            driver.close()
        self.sources.close()
        if self.owns_store:
            self.store.close()


def installation(
    places: Places,
    settings: Settings | None,
    source: Callable[[], Tree],
    given: Store | None = None,
    environment: str = "",
) -> Installation:
    """Opens an installation: store, identity, drivers, engine.

    Args:
        source: Gives the tree of the revision to reconcile.
        given: The store, where it is open already; it stays open.
        environment: Whose overlay is laid over the documents; empty for none.

    Raises:
        InvalidError: The state directory, the store or the identity cannot be used.
    """
    from reconciler.engine.clock import SystemClock
    from reconciler.engine.desired import DesiredStates
    from reconciler.engine.identity import load_identity
    from reconciler.engine.reconcile import Reconciler
    from reconciler.engine.store import Store
    from reconciler.wiring.clusters import clusters_driver
    from reconciler.wiring.registries import model_root, registries

    make_private(places.state_dir)
    clock = SystemClock()
    identity = load_identity(places.identity)
    store = given or Store(places.database, clock)
    newest = Bytes()
    keyring, sources = keyring_of(identity, settings, store, newest, os.environ)

    def references() -> set[ResourceId]:
        return {needed for baseline in store.baselines().values() for needed in baseline.depends_on}

    models, environments = registries(places, settings, lambda: newest.newest, references, identity.installation)

    images = images_driver(
        places, settings, newest, lambda of: model_root(models, places, of), keyring.reveal, identity.installation
    )

    def make(target: Target) -> Driver:
        if target.type == "aks":
            from reconciler.wiring.clusters import aks_driver

            return aks_driver(target, settings, keyring, identity.installation, places.cache)
        return local(target)

    def local(target: Target) -> Driver:
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
        process = ProcessDriver(target.name, identity.installation, places.services(target.name), parts)
        return local_driver(target, process, places, settings, keyring, identity.installation)

    targets = TargetDrivers(make, settings.targets.allowed if settings else None)
    cache = document_cache(places)
    built_in = (models, environments, images, clusters_driver(settings, identity.installation))
    reconciler = Reconciler(
        source,
        DesiredStates(targets, built_in, keyring, cache, environment, lambda: names_of(store)),
        targets,
        built_in,
        store,
        clock,
        identity.installation,
        rails(settings),
    )
    opened = Installation(
        places,
        settings,
        identity,
        store,
        clock,
        targets,
        built_in,
        reconciler,
        keyring,
        sources,
        newest,
        cache,
        given is None,
    )
    reconciler.source = lambda: opened.use(source())
    return opened


def names_of(store: Store) -> Names:
    """Whose names the generated keys of services are made of, as recorded now."""
    from reconciler.engine.keynames import Names

    names = store.key_names()

    def applied(service: str) -> bool:
        return any(
            b.service == service and b.sent is not None and b.pending is None for b in store.baselines().values()
        )

    return Names(lambda service, moved_from: names.of(service, moved_from, applied), names.others)


def importing(opened: Installation, tree: Tree, environment: str) -> Importing:
    """What imports from targets at a revision."""
    from reconciler.engine.desired import DesiredStates
    from reconciler.engine.importing import Importing
    from reconciler.source.added import AddedTree

    states = DesiredStates(
        opened.targets, opened.registries, None, opened.cache, environment, lambda: names_of(opened.store)
    )
    prefixes = opened.settings.secrets.env_prefixes if opened.settings else ()
    return Importing(opened.reconciler, states, opened.keyring, tree, AddedTree, prefixes)


def origin_of(source: Source) -> str:
    """Which repo and path a source reads, for the rail against two repos on one state directory."""
    from reconciler.engine.known import described

    return described(source.origin, source.path)


def daemon_parts(
    places: Places, settings: Settings | None, wanted: SourceSettings, store: Store, environment: str = ""
) -> DaemonParts:
    """What the daemon is made of; made anew when settings are reloaded.

    Args:
        environment: Whose overlay is laid over the documents; empty for none.

    Raises:
        InvalidError: The repo or the settings cannot be used.
    """
    from reconciler.engine.daemon.parts import Options, Poll
    from reconciler.engine.daemon.parts import Parts as DaemonParts
    from reconciler.source.local import LocalSource

    announcement = _announcement(settings, environment)
    source = open_repo(wanted, places)
    opened = installation(places, settings, source.tree, store, environment)
    opened.reconciler.origin = origin_of(source)
    options = Options()
    if settings is not None:
        options = Options(
            full_look_seconds=settings.daemon.full_look_seconds,
            workers=settings.daemon.workers,
            snapshot_file=settings.snapshot.file,
        )

    def close() -> None:
        opened.close()
        source.close()

    if isinstance(source, LocalSource):
        from reconciler.source.watch import Watch

        repository = source.repository
        watch = Watch(repository.git_folder, repository.common_folder)
        return DaemonParts(
            opened.reconciler,
            (watch.events,),
            options=options,
            announcement=announcement,
            publish=publisher(opened, source),
            close=close,
        )
    return DaemonParts(
        opened.reconciler,
        poll=Poll(source.peek, settings.repo.poll_seconds if settings else 30.0),
        options=options,
        announcement=announcement,
        publish=publisher(opened, source),
        close=close,
    )


def _announcement(settings: Settings | None, environment: str) -> Announcement | None:
    if settings is None or not settings.forge.commit_status:
        return None
    from reconciler.engine.daemon.announcing import Announcement
    from reconciler.wiring.forges import status_poster

    poster = status_poster(settings, environment)
    return Announcement(poster.name, poster)


def publisher(opened: Installation, source: Source) -> Publish:
    """What makes signed snapshots of an installation; the signing key is made when it is first needed."""
    from reconciler.engine.snapshot.making import SnapshotMaker
    from reconciler.wiring.surroundings import settings_told

    settings = opened.settings
    allowed = settings.targets.allowed if settings else None
    maker = SnapshotMaker(
        opened.identity.installation,
        source.origin,
        source.path,
        opened.store,
        opened.clock,
        opened.registries,
        opened.targets,
        settings_told(settings),
        rails(settings),
        tuple(allowed) if allowed is not None else None,
    )

    @functools.cache
    def signer() -> Signer:
        from reconciler.engine.snapshot.signing import Signer

        return Signer(opened.identity.installation, opened.identity.key)

    def publish(seen: Mapping[str, Situation | None]) -> bytes:
        from reconciler.engine.snapshot.document import to_text

        return signer().sign(to_text(maker.make(seen)))

    return publish
