"""What renders revisions without identity, store or access."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, cast

from reconciler.wiring.drivers import TargetDrivers, registries
from reconciler.wiring.places import Places

if TYPE_CHECKING:
    from reconciler.core.deployment import Target
    from reconciler.core.driver import Driver
    from reconciler.engine.desired import DesiredStates
    from reconciler.manifests.cache import DocumentCache
    from reconciler.settings import Settings

OFFLINE = "offline"


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
