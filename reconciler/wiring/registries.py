"""The built-in registries, opened: their drivers, and models laid out for those who serve them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.wiring.operator import artifact_settings
from reconciler.wiring.places import Places

if TYPE_CHECKING:
    from reconciler.artifacts.environments.driver import EnvironmentsDriver
    from reconciler.artifacts.models.driver import ModelsDriver
    from reconciler.core.contents import Contents
    from reconciler.core.resources import ResourceId
    from reconciler.settings import Settings


def registries(
    places: Places,
    settings: Settings | None,
    contents: Callable[[], Contents | None],
    references: Callable[[], set[ResourceId]],
    installation: str = "",
) -> tuple[ModelsDriver, EnvironmentsDriver]:
    """The drivers of the built-in registries.

    Args:
        contents: The repo's bytes at the time of the call.
        references: The model versions that some resource still needs.
        installation: Whose resources are listed; "" for everybody's.
    """
    from reconciler.artifacts.environments.driver import EnvironmentsDriver
    from reconciler.artifacts.models.driver import ModelsDriver
    from reconciler.artifacts.models.registry import ModelRegistry

    of_models, of_environments = artifact_settings(settings)
    models = ModelsDriver(ModelRegistry(places.models), of_models, contents, references, installation=installation)
    environments = EnvironmentsDriver.on_this_machine(places.state_dir, of_environments, os.environ, installation)
    return models, environments


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
