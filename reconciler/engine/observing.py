"""Hop 5: looking at targets, in parallel, one bad target blinding no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from reconciler.core.dataclass import replace
from reconciler.core.driver import Driver
from reconciler.core.errors import TargetError
from reconciler.core.resources import Completeness, Observation, Observed, ResourceId

PARALLEL = 16


class Observer:
    """Looks at targets; a resource that reads as before is the same object as before, which the planner's memo uses."""

    def __init__(self) -> None:
        self._seen: dict[ResourceId, Observed] = {}

    def all(self, drivers: Mapping[str, Driver], ids: Iterable[ResourceId]) -> dict[str, Observation]:
        """One observation a target.

        Args:
            ids: Everything that is wanted or recorded: what stands there is reported even if it is not ours.
        """
        known: dict[str, list[ResourceId]] = {name: [] for name in drivers}
        for id_ in dict.fromkeys(ids):
            if id_.target in known:
                known[id_.target].append(id_)
        if len(drivers) == 1:
            return {name: self.one(driver, known[name]) for name, driver in drivers.items()}
        with ThreadPoolExecutor(min(len(drivers), PARALLEL) or 1, thread_name_prefix="observe") as pool:
            futures = {name: pool.submit(self.one, driver, known[name]) for name, driver in drivers.items()}
            return {name: future.result() for name, future in futures.items()}

    def one(self, driver: Driver, known: Sequence[ResourceId]) -> Observation:
        """One target; an unavailable observation if it cannot be read."""
        try:
            observation = driver.observe(known)
        except TargetError as exc:
            return Observation(driver.target, Completeness.UNAVAILABLE, missing=exc.message)
        same: dict[ResourceId, Observed] = {}
        seen = self._seen
        for id_, observed in observation.resources.items():
            before = seen.get(id_)
            if before is None or before is observed or before != observed:
                same[id_] = observed
            else:
                same[id_] = before
        seen.update(same)
        return replace(observation, resources=same)
