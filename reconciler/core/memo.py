"""What one plan leaves to the next of the same process: outcomes that still hold, and the order of everything.

A resource that needed nothing needs nothing now if its three sides are the very same objects. Where as many resources
are wanted, recorded and seen as before, only those with another side are walked, and those that needed something;
that keeps the plan of one change among ten thousand resources cheap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from reconciler.core.change import Change, Drift
from reconciler.core.changed import changed_keys, changed_places
from reconciler.core.dataclass import dataclass, field
from reconciler.core.order import in_order
from reconciler.core.outputs import needs
from reconciler.core.resources import Baseline, Desired, Observed, ResourceId
from reconciler.core.situation import Situation

Needs = Mapping[ResourceId, tuple[ResourceId, ...]]


class Outcome(NamedTuple):
    """That a resource needed nothing, and of which objects this followed."""

    desired: Desired
    observed: Observed
    baseline: Baseline | None
    change: Change
    drift: Drift | None

    def holds(self, desired: Desired, observed: Observed | None, baseline: Baseline | None) -> bool:
        """Whether it follows of these, too."""
        return self.desired is desired and self.observed is observed and self.baseline is baseline


@dataclass(frozen=True, slots=True)
class Frame:
    """What stays while the same resources are wanted, recorded and seen, and need each other as before.

    Args:
        needed: What each wanted resource needs first.
        place: Of each in dependency order.
        targets: Names of those at which something is wanted.
        outside: Recorded or seen, and not wanted.
    """

    needed: Needs
    place: Mapping[ResourceId, int]
    targets: frozenset[str]
    outside: frozenset[ResourceId]


@dataclass(frozen=True, slots=True)
class Planned:
    """The last plan, as far as the next one builds on it.

    Args:
        seen: By target name.
        changes, drift: Of wanted resources; changes in dependency order.
        open: Resources of which no outcome is remembered.
    """

    desired: Sequence[Desired]
    seen: Mapping[str, Mapping[ResourceId, Observed]]
    baselines: Mapping[ResourceId, Baseline]
    by_id: Mapping[ResourceId, Desired]
    frame: Frame
    changes: Mapping[ResourceId, Change]
    drift: Mapping[ResourceId, Drift]
    open: frozenset[ResourceId]


@dataclass(slots=True)
class Memo:
    """What the last plan of this process left; a plan with it equals the one without."""

    outcomes: dict[ResourceId, Outcome] = field(default_factory=dict[ResourceId, Outcome])
    last: Planned | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """Which resources are to be looked at, and what is known of the others.

    Args:
        ids: To be looked at, in dependency order.
        needed: What each of them needs first.
        changes, drift: Of the last plan; what is walked takes the place of what stands there.
    """

    by_id: Mapping[ResourceId, Desired]
    frame: Frame
    ids: Sequence[ResourceId]
    needed: Needs
    changes: dict[ResourceId, Change] = field(default_factory=dict[ResourceId, Change])
    drift: dict[ResourceId, Drift] = field(default_factory=dict[ResourceId, Drift])


def begin(situation: Situation, memo: Memo) -> Walk:
    """Where a plan begins: at everything, or at what the last one does not tell.

    Raises:
        InvalidError: Resources depend on each other in a circle.
    """
    return _again(situation, memo.last) or _anew(situation, memo.outcomes)


def remember(situation: Situation, memo: Memo, walk: Walk) -> None:
    """Leaves a plan to the next one."""
    if len(memo.outcomes) > len(walk.by_id):
        memo.outcomes = {id_: outcome for id_, outcome in memo.outcomes.items() if id_ in walk.by_id}
    memo.last = Planned(
        situation.desired,
        _seen(situation),
        situation.baselines,
        walk.by_id,
        walk.frame,
        walk.changes,
        walk.drift,
        frozenset(id_ for id_ in walk.ids if id_ not in memo.outcomes),
    )


def _seen(situation: Situation) -> dict[str, Mapping[ResourceId, Observed]]:
    return {name: observation.resources for name, observation in situation.observations.items()}


def _anew(situation: Situation, outcomes: Mapping[ResourceId, Outcome]) -> Walk:
    by_id = {desired.id: desired for desired in situation.desired}
    # What is remembered has no unknowns, so it need not be searched for them.
    needed = {
        id_: desired.depends_on if (known := outcomes.get(id_)) and known.desired is desired else needs(desired)
        for id_, desired in by_id.items()
    }
    ids = in_order(sorted(by_id), needed)
    outside = {id_ for id_ in situation.baselines if id_ not in by_id}
    for observation in situation.observations.values():
        outside.update(id_ for id_ in observation.resources if id_ not in by_id)
    targets = frozenset(id_.target for id_ in by_id)
    place = {id_: index for index, id_ in enumerate(ids)}
    return Walk(by_id, Frame(needed, place, targets, frozenset(outside)), ids, needed)


def _again(situation: Situation, last: Planned | None) -> Walk | None:
    """The walk past what the last plan does not tell; None if not the same resources are wanted, recorded and seen."""
    if last is None:
        return None
    places = changed_places(situation.desired, last.desired)
    recorded = changed_keys(situation.baselines, last.baselines)
    seen = _seen(situation)
    if places is None or recorded is None or seen.keys() != last.seen.keys():
        return None
    walked = {*last.open, *(id_ for id_ in recorded if id_ in last.by_id)}
    for name, resources in seen.items():
        others = changed_keys(resources, last.seen[name])
        if others is None:
            return None
        walked.update(id_ for id_ in others if id_ in last.by_id)
    by_id = dict(last.by_id)
    for index in places:
        desired = situation.desired[index]
        if desired.id != last.desired[index].id:
            return None
        by_id[desired.id] = desired
        walked.add(desired.id)
    needed = {id_: needs(by_id[id_]) for id_ in walked}
    if any(last.frame.needed[id_] != first for id_, first in needed.items()):
        return None
    ids = sorted(walked, key=last.frame.place.__getitem__)
    return Walk(by_id, last.frame, ids, needed, dict(last.changes), dict(last.drift))
