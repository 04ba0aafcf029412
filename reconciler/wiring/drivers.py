"""Drivers: one for each target by its type, and those of the built-in registries."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from reconciler.core.problems import Problem
from reconciler.wiring.places import Places

if TYPE_CHECKING:
    from reconciler.artifacts.environments.driver import EnvironmentsDriver
    from reconciler.artifacts.models.driver import ModelsDriver
    from reconciler.core.contents import Contents
    from reconciler.core.deployment import Target
    from reconciler.core.driver import Driver
    from reconciler.core.resources import ResourceId
    from reconciler.settings import Settings

_DRIVERS = ("local",)


@dataclass
class TargetDrivers:
    """A driver for each target, kept while the target stays what it is. Safe to call from many threads.

    A driver that another one replaces may be at work in a thread that asked for it before; it is closed with the rest.

    Args:
        make: Makes the driver of a target whose type has one.
        allowed: Names of targets that may be used; None for all.
    """

    make: Callable[[Target], Driver]
    allowed: Sequence[str] | None = None
    _made: dict[str, tuple[Target, Driver]] = field(default_factory=dict[str, "tuple[Target, Driver]"], init=False)
    _replaced: list[Driver] = field(default_factory=list["Driver"], init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def __call__(self, targets: Mapping[str, Target]) -> tuple[Mapping[str, Driver], Sequence[Problem]]:
        """Drivers by target name, and a problem for each target that has none."""
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
                    self._replaced.append(known[1])
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
        """Closes the drivers, replaced ones too; the caller has ended what works with them."""
        with self._lock:
            drivers = [*self._replaced, *(driver for _, driver in self._made.values())]
            self._replaced.clear()
            self._made.clear()
        for driver in drivers:
            driver.close()


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
    from reconciler.artifacts.environments.settings import EnvironmentSettings
    from reconciler.artifacts.models.driver import ModelsDriver
    from reconciler.artifacts.models.registry import ModelRegistry
    from reconciler.artifacts.models.settings import ModelSettings

    of_models = ModelSettings(**settings.models.model_dump()) if settings else ModelSettings()
    of_environments = EnvironmentSettings(**settings.environments.model_dump()) if settings else EnvironmentSettings()
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
