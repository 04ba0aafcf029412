"""What renders revisions without identity, store or access."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reconciler.core.dataclass import dataclass
from reconciler.wiring.containers import image_settings, local_renderer
from reconciler.wiring.drivers import TargetDrivers
from reconciler.wiring.operator import artifact_settings
from reconciler.wiring.places import Places

if TYPE_CHECKING:
    from reconciler.core.deployment import Target
    from reconciler.core.driver import Renderer
    from reconciler.core.sources import SourceState, Watched
    from reconciler.engine.desired import DesiredStates
    from reconciler.engine.snapshot.document import Snapshot
    from reconciler.manifests.cache import DocumentCache
    from reconciler.settings import Settings


@dataclass(frozen=True, slots=True)
class Offline:
    """What renders revisions without identity, store or access; secrets stay references."""

    states: DesiredStates
    targets: TargetDrivers[Renderer]
    registries: Sequence[Renderer]

    def renderers(self, targets: Mapping[str, Target]) -> dict[str, Renderer]:
        """Those of some targets and of the registries, by target name."""
        found, _ = self.targets(targets)
        return {**{registry.target: registry for registry in self.registries}, **found}


def registered_models(places: Places) -> Mapping[str, Mapping[str, str]]:
    """What the model registry holds: name -> version -> digest; nothing where there is none yet."""
    if not places.models.exists():
        return {}
    from reconciler.artifacts.models.registry import ModelRegistry

    return ModelRegistry(places.models).catalogue()


def _registered_from(places: Places, watched: Sequence[Watched]) -> Mapping[Watched, SourceState]:
    if not places.models.exists():
        return {}
    from reconciler.artifacts.models.registry import ModelRegistry
    from reconciler.artifacts.models.sources import registered_from

    return registered_from(ModelRegistry(places.models), watched)


def offline(places: Places, settings: Settings | None, cache: DocumentCache, environment: str = "") -> Offline:
    """The parts of an offline plan; nothing is opened, nothing is made but the cache.

    Args:
        environment: Whose overlay is laid over the documents; empty for none.
    """
    from reconciler.artifacts.environments.machine import find_machine
    from reconciler.artifacts.environments.render import EnvironmentRenderer
    from reconciler.artifacts.images.render import ImageRenderer
    from reconciler.artifacts.models.render import ModelRenderer
    from reconciler.engine.desired import DesiredStates
    from reconciler.serving import RUNTIME_VERSION
    from reconciler.targets.aks.clusters.render import ClusterRenderer

    def make(target: Target) -> Renderer:
        if target.type == "aks":
            from reconciler.wiring.clusters import aks_renderer

            return aks_renderer(target, settings)
        return local_renderer(target, settings)

    of_models, of_environments = artifact_settings(settings)
    built_in = (
        ModelRenderer(of_models, lambda: registered_models(places), lambda of: _registered_from(places, of)),
        EnvironmentRenderer(of_environments, lambda: find_machine(os.environ, of_environments), cache),
        ImageRenderer(image_settings(settings), RUNTIME_VERSION),
        ClusterRenderer(),
    )
    targets = TargetDrivers(make, settings.targets.allowed if settings else None)
    states = DesiredStates(targets, built_in, None, cache, environment)
    return Offline(states, targets, built_in)


def offline_with(snapshot: Snapshot, cache: DocumentCache) -> Offline:
    """What renders as the installation does that published a snapshot; secrets become its labels.

    Raises:
        InvalidError: What rendering depends on there cannot be read.
    """
    from reconciler.engine.desired import DesiredStates
    from reconciler.engine.snapshot.reading import ByReference, key_names
    from reconciler.wiring.surroundings import registries_as, target_as

    def make(target: Target) -> Renderer:
        return target_as(snapshot, target)

    built_in = registries_as(snapshot, cache)
    targets = TargetDrivers(make, snapshot.allowed)
    names = key_names(snapshot.known.baselines.values())
    states = DesiredStates(targets, built_in, ByReference(), cache, snapshot.environment, names)
    return Offline(states, targets, built_in)
