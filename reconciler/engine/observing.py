"""Hop 5: looking at targets, in parallel, one bad target blinding no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from reconciler.core.changed import changed_keys
from reconciler.core.dataclass import dataclass, replace
from reconciler.core.driver import Driver
from reconciler.core.errors import TargetError
from reconciler.core.resources import Completeness, Observation, Observed, ResourceId

PARALLEL = 16


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a target showed last.

    Args:
        answered: As its driver gave it.
        kept: The same values, where a resource that reads as before is the same object as before.
    """

    answered: Mapping[ResourceId, Observed]
    kept: Mapping[ResourceId, Observed]


class Observer:
    """Looks at targets; a resource that reads as before is the same object as before, which the planner's memo uses."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._ids: list[ResourceId] = []
        self._known: dict[str, list[ResourceId]] = {}

    def all(self, drivers: Mapping[str, Driver], ids: Iterable[ResourceId]) -> dict[str, Observation]:
        """One observation a target.

        Args:
            ids: Everything that is wanted or recorded: what stands there is reported even if it is not ours.
        """
        known = self._sorted(drivers, list(ids))
        if len(drivers) == 1:
            return {name: self.one(driver, known[name]) for name, driver in drivers.items()}
        with ThreadPoolExecutor(min(len(drivers), PARALLEL) or 1, thread_name_prefix="observe") as pool:
            futures = {name: pool.submit(self.one, driver, known[name]) for name, driver in drivers.items()}
            return {name: future.result() for name, future in futures.items()}

    def _sorted(self, drivers: Mapping[str, Driver], ids: list[ResourceId]) -> Mapping[str, Sequence[ResourceId]]:
        """The ids of each target, each once: those of the last look while the same ones are asked for."""
        if ids != self._ids or drivers.keys() != self._known.keys():
            known: dict[str, list[ResourceId]] = {name: [] for name in drivers}
            for id_ in dict.fromkeys(ids):
                if id_.target in known:
                    known[id_.target].append(id_)
            self._ids, self._known = ids, known
        return self._known

    def one(self, driver: Driver, known: Sequence[ResourceId]) -> Observation:
        """One target; an unavailable observation if it cannot be read."""
        try:
            observation = driver.observe(known)
        except TargetError as exc:
            return Observation(driver.target, Completeness.UNAVAILABLE, missing=exc.message)
        answered = dict(observation.resources)
        kept = _kept(answered, self._seen.get(driver.target, _Seen({}, {})))
        self._seen[driver.target] = _Seen(answered, kept)
        return replace(observation, resources=kept)


def _kept(answered: Mapping[ResourceId, Observed], last: _Seen) -> Mapping[ResourceId, Observed]:
    """What a target shows, with the objects of the last time for what reads as before."""
    others = changed_keys(answered, last.answered)
    if others is not None and not others:
        return last.kept
    kept = dict(answered if others is None else last.kept)
    for id_ in kept if others is None else others:
        before, observed = last.kept.get(id_), answered[id_]
        kept[id_] = before if before is not None and (before is observed or before == observed) else observed
    return kept
