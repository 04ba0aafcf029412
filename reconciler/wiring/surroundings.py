"""What rendering depends on beyond manifests and drivers: told in a snapshot, so that it gives the same elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from reconciler.core.deployment import ENVIRONMENTS_TARGET, Registry, Target
from reconciler.core.errors import InvalidError

if TYPE_CHECKING:
    from reconciler.artifacts.images.settings import ImageSettings
    from reconciler.core.driver import Renderer
    from reconciler.core.memory import Facts
    from reconciler.engine.snapshot.document import Snapshot
    from reconciler.settings import Settings
    from reconciler.targets.local.docker.render import Naming

SETTINGS = "settings"


def settings_told(settings: Settings | None) -> Mapping[str, Any]:
    """The operator's settings that decide what is rendered; none of them secret."""
    from reconciler.wiring.containers import naming

    own = naming(settings)
    return {SETTINGS: {"base": own.default_base, "registry": own.registry, "volumes": list(own.volumes)}}


def registries_as(snapshot: Snapshot, facts: Facts) -> Sequence[Renderer]:
    """The built-in registries as they render where the snapshot was made.

    Raises:
        InvalidError: What rendering depends on there cannot be read.
    """
    from reconciler.artifacts.environments.render import EnvironmentRenderer
    from reconciler.artifacts.images.render import ImageRenderer
    from reconciler.artifacts.models.render import ModelRenderer
    from reconciler.artifacts.models.settings import ModelSettings
    from reconciler.serving import RUNTIME_VERSION
    from reconciler.targets.aks.clusters.render import ClusterRenderer

    environments = _mapping(snapshot.surroundings.get(ENVIRONMENTS_TARGET, {}))
    return (
        ModelRenderer(ModelSettings(), lambda: snapshot.models),
        EnvironmentRenderer.elsewhere(environments, facts),
        ImageRenderer(_images(_naming(snapshot)), RUNTIME_VERSION),
        ClusterRenderer(),
    )


def target_as(snapshot: Snapshot, target: Target) -> Renderer:
    """A target as it renders where the snapshot was made; one that nothing used there, as without access.

    Raises:
        InvalidError: What rendering depends on there cannot be read.
    """
    from reconciler.wiring.containers import Declared, renderer_of

    if target.type == "aks":
        from reconciler.targets.aks.render import AksRenderer, Images

        naming = _naming(snapshot)
        return AksRenderer(target.name, Images(naming.default_base, naming.registry))
    told = _mapping(snapshot.surroundings.get(target.name, {}))
    if not told:
        return renderer_of(target, _naming(snapshot), Declared(target), containers=False)
    choice = _Told(str(told.get("engine") or "process"), str(told.get("why") or ""))
    return renderer_of(target, _naming(snapshot), choice, containers=bool(told.get("containers")))


class _Told:
    """The engine that a snapshot names."""

    def __init__(self, engine: str, why: str) -> None:
        self._engine = engine
        self._why = why

    def find(self) -> tuple[str, str]:
        """The engine, and why."""
        return self._engine, self._why

    def keep(self) -> None:
        """Nothing is ever applied to."""


def _naming(snapshot: Snapshot) -> Naming:
    from reconciler.artifacts.images.settings import ImageSettings
    from reconciler.targets.local.docker.render import Naming

    told = _mapping(snapshot.surroundings.get(SETTINGS, {}))
    volumes = cast("Sequence[Any]", told.get("volumes") or [])
    if not isinstance(volumes, list):
        raise _damaged()
    base = str(told.get("base") or ImageSettings().default_base)
    return Naming(base, str(told.get("registry") or ""), [str(volume) for volume in volumes])


def _images(naming: Naming) -> ImageSettings:
    from reconciler.artifacts.images.settings import ImageSettings

    return ImageSettings(naming.default_base, Registry(naming.registry) if naming.registry else None)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _damaged()
    return cast("dict[str, Any]", value)


def _damaged() -> InvalidError:
    return InvalidError(
        "the snapshot does not say what rendering depends on where it was made", hint="get it anew from the daemon"
    )
