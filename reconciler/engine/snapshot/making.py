"""Putting a snapshot together from what was last known and seen of each target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.core.contents import Revision
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.deployment import Target
from reconciler.core.diff import assign
from reconciler.core.driver import Driver, Surroundings
from reconciler.core.problems import Problem
from reconciler.core.resources import Baseline, Completeness, Desired, Observation, Observed, ResourceId
from reconciler.core.secrets import Secret
from reconciler.core.situation import Hold, Rails, Situation
from reconciler.core.values import MISSING, has_secret, lookup, unknowns, walk
from reconciler.engine.approvals import demanded
from reconciler.engine.clock import Clock
from reconciler.engine.desired import registered
from reconciler.engine.known import Known, described
from reconciler.engine.record import SERVICES, recorded_origin
from reconciler.engine.snapshot.document import Seen, Snapshot
from reconciler.engine.snapshot.labels import Labels, named
from reconciler.engine.store import Store

REGISTRY = "registry/"


class _Sides(NamedTuple):
    """All that is known of one resource."""

    desired: Desired | None
    observed: Observed | None
    baseline: Baseline | None
    hold: Hold | None

    def same(self, other: _Sides) -> bool:
        """Whether nothing of it was read anew."""
        return all(one is two for one, two in zip(self, other, strict=True))


class _Published(NamedTuple):
    """What is told of it."""

    observed: Observed | None
    baseline: Baseline | None
    hold: Hold | None


@dataclass
class SnapshotMaker:
    """Makes the snapshots of one installation, remembering what did not change.

    Args:
        origin, path: Of the manifest repo.
        registries: The built-in registries' drivers.
        drivers: A driver for any target, as the reconciler's.
        surroundings: What rendering depends on beyond manifests and drivers.
        allowed: Names of the targets that manifests may use; None for all.
    """

    installation: str
    origin: str
    path: str
    store: Store
    clock: Clock
    registries: Sequence[Driver]
    drivers: Callable[[Mapping[str, Target]], tuple[Mapping[str, Driver], Sequence[Problem]]]
    surroundings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rails: Rails = field(default_factory=Rails)
    allowed: tuple[str, ...] | None = None
    _outputs: frozenset[tuple[str, str]] = field(default=frozenset(), init=False)
    _made: dict[ResourceId, tuple[_Sides, _Published]] = field(
        default_factory=dict["ResourceId", "tuple[_Sides, _Published]"], init=False
    )

    def make(self, seen: Mapping[str, Situation | None]) -> Snapshot:
        """The snapshot.

        Args:
            seen: What was last known and seen of each target; None for one that nobody could look at yet.
        """
        outputs = _outputs_of(situation for situation in seen.values() if situation is not None)
        if outputs != self._outputs:
            self._outputs, self._made = outputs, {}
        recorded, targets, now = self.store.baselines(), self._targets(seen), self.clock.now()
        made: dict[ResourceId, tuple[_Sides, _Published]] = {}
        published: dict[str, Seen] = {}
        for name, situation in sorted(seen.items()):
            own = self._of_target(name, situation, recorded)
            made.update(own)
            observation = situation.observations.get(name) if situation is not None else None
            if observation is None:
                observation = Observation(name, Completeness.UNAVAILABLE, missing="it was not looked at yet")
            told = {id_: one.observed for id_, (_, one) in own.items() if one.observed is not None}
            at = situation.now if situation is not None else now
            able = situation.capabilities.get(name) if situation is not None else None
            published[name] = Seen(
                at,
                replace(observation, resources=told),
                targets.get(name),
                able.retain_seconds if able is not None else None,
            )
        self._made = made
        newest = max((s for s in seen.values() if s is not None), key=lambda s: s.now, default=None)
        known = Known(
            self.installation,
            {i: one.baseline for i, (_, one) in made.items() if one.baseline is not None},
            {name: tuple(services) for name in seen if (services := self.store.fact(SERVICES + name))},
            frozenset(self.store.suspensions()),
            {i: one.hold for i, (_, one) in made.items() if one.hold is not None},
            described(self.origin, self.path),
            {name: origin for name in seen if (origin := recorded_origin(self.store, name)) is not None},
            self.rails,
            demanded(self.store, seen),
        )
        return Snapshot(
            known,
            now,
            self.origin,
            self.path,
            replace(newest.revision, dirty=False) if newest is not None else Revision(""),
            published,
            newest.environment if newest is not None else "",
            self.allowed,
            registered(self.registries),
            frozenset(_references(sides.desired for sides, _ in made.values())),
            {**self.surroundings, **self._told(targets)},
        )

    def _targets(self, seen: Mapping[str, Situation | None]) -> dict[str, Target]:
        """The targets by name, as Git has them or, where it names them no more, as they were last applied to."""
        named = {
            deployment.target.name: deployment.target
            for situation in seen.values()
            for deployment in (situation.deployments.values() if situation is not None else ())
        }
        return {name: target for name, target in {**self.store.targets(), **named}.items() if name in seen}

    def _told(self, targets: Mapping[str, Target]) -> dict[str, Any]:
        """What drivers say that their rendering depends on."""
        drivers, _ = self.drivers(targets)
        every = {**{driver.target: driver for driver in self.registries}, **drivers}
        return {name: driver.surroundings() for name, driver in every.items() if isinstance(driver, Surroundings)}

    def _of_target(
        self, name: str, situation: Situation | None, recorded: Mapping[ResourceId, Baseline]
    ) -> dict[ResourceId, tuple[_Sides, _Published]]:
        """All of one target's resources; what is recorded of one that nobody could look at."""
        if situation is None:
            sides = {i: _Sides(None, None, b, None) for i, b in recorded.items() if i.target == name}
        else:
            desired = {d.id: d for d in situation.desired if d.id.target == name}
            observation = situation.observations.get(name)
            there: Mapping[ResourceId, Observed] = observation.resources if observation is not None else {}
            baselines, holds = situation.baselines, situation.holds
            ids = dict.fromkeys((*desired, *there, *(i for i in (*baselines, *holds) if i.target == name)))
            sides = {i: _Sides(desired.get(i), there.get(i), baselines.get(i), holds.get(i)) for i in ids}
        made: dict[ResourceId, tuple[_Sides, _Published]] = {}
        for id_, each in sides.items():
            before = self._made.get(id_)
            known = before is not None and before[0].same(each)
            made[id_] = before if before is not None and known else (each, _published(id_, each, self._outputs))
        return made


def _outputs_of(situations: Iterable[Situation]) -> frozenset[tuple[str, str]]:
    """Which outputs others ask for, as (kind, pointer): all that is published of any."""
    found: set[tuple[str, str]] = set()
    for situation in situations:
        for desired in situation.desired:
            for unknown in unknowns(desired.spec):
                found.add((ResourceId.parse(unknown.source).kind, unknown.pointer))
    return frozenset(found)


def _references(desired: Iterable[Desired | None]) -> Iterator[str]:
    """Where the secrets come from whose values are at hand."""
    for one in desired:
        if one is not None and has_secret(one.spec):
            for _, leaf in walk(one.spec):
                if isinstance(leaf, Secret) and leaf.ref is not None:
                    yield named(leaf.ref)


def _published(id_: ResourceId, sides: _Sides, outputs: frozenset[tuple[str, str]]) -> _Published:
    labels = Labels(sides.desired, sides.observed, sides.baseline)
    observed, baseline = labels.published()
    pointers = {pointer for kind, pointer in outputs if kind == id_.kind}
    if id_.target.startswith(REGISTRY):
        pointers.add("/digest")
    if observed is not None and sides.observed is not None:
        observed = replace(observed, outputs=_only(sides.observed.outputs, pointers))
    if baseline is not None and sides.baseline is not None:
        baseline = replace(baseline, outputs=_only(sides.baseline.outputs, pointers))
    hold = sides.hold
    if hold is not None:
        hold = replace(hold, spec_digest=labels.digest(hold.spec_digest))
    return _Published(observed, baseline, hold)


def _only(outputs: Mapping[str, Any], pointers: Iterable[str]) -> Mapping[str, Any]:
    result: dict[str, Any] = {}
    for pointer in sorted(pointers):
        value = lookup(outputs, pointer)
        if value is not MISSING and not has_secret(value):
            result = assign(result, pointer, value)
    return result
