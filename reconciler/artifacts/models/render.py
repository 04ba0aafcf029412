"""What a model version is as a resource, as Git wants it. Pure; planning needs no more of the registry than this."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from reconciler.artifacts.models.settings import ModelSettings
from reconciler.core.deployment import MODELS_TARGET, Deployment, ModelVersion
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError
from reconciler.core.memory import ByIdentity
from reconciler.core.problems import Problem
from reconciler.core.resources import Desired
from reconciler.core.sources import SourceState, Watched
from reconciler.core.values import Value

KIND = "model"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_VERSION = re.compile(r"[1-9][0-9]{0,18}")


class ModelRenderer:
    """Implements `core.driver.Renderer` and `Catalogue` for `registry/models`.

    Args:
        registered: Registered versions: name -> version -> digest.
        sources: What was registered from addresses.
    """

    def __init__(
        self,
        settings: ModelSettings,
        registered: Callable[[], Mapping[str, Mapping[str, str]]],
        sources: Callable[[Sequence[Watched]], Mapping[Watched, SourceState]] = lambda watched: {},
    ) -> None:
        self._settings = settings
        self._registered = registered
        self._sources = sources
        self._rendered = ByIdentity(render)

    @property
    def target(self) -> str:
        """The built-in target's name."""
        return MODELS_TARGET

    @property
    def capabilities(self) -> Capabilities:
        """Versions are retained after their last use; a change of bytes is refused, so nothing is ever replaced."""
        return Capabilities(
            kinds=frozenset({KIND}),
            content=("/digest",),
            retained=frozenset({KIND}),
            retain_seconds=self._settings.retain_seconds,
            parallel=self._settings.parallel,
            deadline_seconds=self._settings.deadline,
        )

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """The model versions that a deployment uses.

        Raises:
            InvalidError: A name or version that cannot be registered.
        """
        return self.render_models(deployment.models)

    def render_models(self, models: Sequence[ModelVersion]) -> Sequence[Desired]:
        """One resource a model version.

        Raises:
            InvalidError: A name or version that cannot be registered.
        """
        return [self._rendered[model] for model in models]

    def catalogue(self) -> Mapping[str, Mapping[str, str]]:
        """Registered versions: name -> version -> digest."""
        return self._registered()

    def sources(self, watched: Sequence[Watched]) -> Mapping[Watched, SourceState]:
        """What was registered from addresses; nobody is asked."""
        return self._sources(watched)


def render(model: ModelVersion) -> Desired:
    """A model version as Git wants it.

    `digest` and `size` are there where they are known; `digest` never changes, `properties` only grow.

    Raises:
        InvalidError: The name or version cannot be registered.
    """
    if split_name(model.id.name) is None:
        raise InvalidError(
            f"{model.name}:{model.version} cannot be registered",
            problems=[
                Problem(
                    "model-name",
                    f"{model.name!r} version {model.version!r} cannot be registered",
                    model.position,
                    "names: letters, digits, then also '.', '_', '-', at most 255; versions: positive numbers",
                )
            ],
        )
    source: dict[str, Value] = {"uri": model.uri}
    if not model.uri:
        source = {"path": model.path, "object": model.object_id, "lfs": model.lfs}
    spec: dict[str, Value] = {
        "name": model.name,
        "version": model.version,
        "framework": model.framework,
        "frameworkVersion": model.framework_version,
        "description": model.description,
        "tags": dict(model.tags),
        "properties": dict(model.properties),
        "source": source,
    }
    if model.digest is not None:
        spec["digest"] = model.digest
    if model.size is not None and not model.uri:
        spec["size"] = model.size
    size = f"{human_size(model.size)}  " if model.size is not None else ""
    summary = f"{size}{model.digest[:19] if model.digest else 'digest known after registering'}"
    return Desired(model.id, spec, summary=summary)


def split_name(name: str) -> tuple[str, str] | None:
    """Name and version of `name:version`, or None if it is anything else."""
    model, colon, version = name.rpartition(":")
    if colon and _NAME.fullmatch(model) and _VERSION.fullmatch(version):
        return model, version
    return None


def human_size(count: int | None) -> str:
    """Bytes in words, decimal units."""
    size = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
