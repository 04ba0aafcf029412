"""Planning: (desired, observations, baselines, policy) -> Plan. Pure; the only place that decides what is done.

`plan` walks the desired resources in dependency order: what each needs (`core.wanted`) and whether that may run now
(`core.gate`); then what is ours and no longer wanted (`core.prune`); then it asks the rails (`core.safety`).
How a change is carried out is `core.rollout`'s, what is recorded of it `core.record`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.core.change import Action, Blocked, Change, Drift, Plan, Refusal
from reconciler.core.estimate import estimate
from reconciler.core.gate import gate
from reconciler.core.moves import moved, moves_of, pointed_out
from reconciler.core.order import in_order
from reconciler.core.outputs import needs
from reconciler.core.problems import Problem
from reconciler.core.prune import Arrivals, unwanted
from reconciler.core.resources import Completeness, Desired, Health, Observed, ResourceId
from reconciler.core.safety import refusals_of, with_digest
from reconciler.core.situation import Memo, Situation
from reconciler.core.values import digest
from reconciler.core.wanted import wanted


def plan(situation: Situation, memo: Memo | None = None) -> Plan:
    """The plan for a situation.

    Args:
        memo: Outcomes of the last plan of this process; what did not change is not compared again.

    Raises:
        InvalidError: Resources depend on each other in a circle.
    """
    by_id = {desired.id: desired for desired in situation.desired}
    moves = moves_of(situation, by_id)
    remembered = memo.outcomes if memo is not None else {}
    # What must be there first; what is remembered has no unknowns, so it need not be searched for them.
    needed = {
        id_: desired.depends_on if (known := remembered.get(id_)) and known[0] is desired else needs(desired)
        for id_, desired in by_id.items()
    }
    changes: dict[ResourceId, Change] = {}
    drift: list[Drift] = []
    refusals: list[Refusal] = []
    blocked: list[Blocked] = []
    stopped: set[ResourceId] = set()
    observations, baselines = situation.observations, situation.baselines
    for id_ in in_order(sorted(by_id), needed):
        desired = by_id[id_]
        observation = observations.get(id_.target)
        observed = observation.resources.get(id_) if observation else None
        known = remembered.get(id_)
        if known and known[0] is desired and known[1] is observed and known[2] is baselines.get(id_):
            # What is remembered needs no write, so nothing can stand against it.
            changes[id_] = known[3]
            if known[4] is not None:
                drift.append(known[4])
            continue
        old = moves.old_of.get(id_)
        if old is not None and (observed is None or observed.health is Health.MISSING):
            change, drifted = moved(situation, desired, observed, old, changes, needed[id_])
        else:
            change, drifted = _compared(situation, memo, desired, observed, changes, needed[id_])
        if drifted is not None:
            drift.append(drifted)
        outcome = gate(situation, desired, observation, change, changes, stopped, needed[id_])
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
            change = _stopped(change, outcome.message)
        elif isinstance(outcome, Blocked):
            blocked.append(outcome)
            change = _stopped(change, outcome.reason)
        if outcome is not None:
            stopped.add(id_)
        changes[id_] = change
    if memo is not None and len(memo.outcomes) > len(by_id):
        memo.outcomes = {id_: outcome for id_, outcome in memo.outcomes.items() if id_ in by_id}
    arrivals = Arrivals(moves, changes, _not_there_yet(situation.installation, changes, stopped))
    removals, kept, removal_refusals = unwanted(situation, by_id, arrivals)
    refusals += removal_refusals
    listed, looks_renamed = pointed_out(situation, changes.values(), removals, kept)
    everything = (*listed, *removals)
    refusals += refusals_of(situation, everything)
    targets = _completeness(situation)
    made = Plan(
        revision=situation.revision,
        changes=everything,
        drift=tuple(drift),
        kept=tuple(kept),
        refusals=tuple(refusals),
        blocked=tuple(blocked),
        warnings=(*_warnings(situation, changes), *looks_renamed),
        problems=situation.problems,
        targets=targets,
        suspended=tuple(sorted(situation.suspended)),
        unseen=_unseen(situation, targets),
        environment=situation.environment,
        estimate=estimate((c for c in everything if c.writes), situation.capabilities),
        basis=situation.basis,
    )
    return with_digest(made)


def _compared(
    situation: Situation,
    memo: Memo | None,
    desired: Desired,
    observed: Observed | None,
    changes: Mapping[ResourceId, Change],
    needed: tuple[ResourceId, ...],
) -> tuple[Change, Drift | None]:
    """The change of one resource, remembered if it is none."""
    baseline = situation.baselines.get(desired.id)
    change, drifted = wanted(situation, desired, observed, baseline, changes, needed)
    if memo is not None:
        memo.outcomes.pop(desired.id, None)
        # A spec with unknowns follows from other resources too, so its outcome is not remembered.
        if change.action is Action.NOOP and observed is not None and needed is desired.depends_on:
            memo.outcomes[desired.id] = (desired, observed, baseline, change, drifted)
    return change, drifted


def _not_there_yet(
    installation: str, changes: Mapping[ResourceId, Change], stopped: Iterable[ResourceId]
) -> dict[str, str]:
    """Services of which something is missing that this plan cannot make, with the reason."""
    waiting: dict[str, str] = {}
    for id_ in sorted(stopped):
        change = changes[id_]
        seen = change.observed
        there = seen is not None and seen.id == id_ and seen.owned_by(installation)
        if change.service and (seen is None or not there or seen.health is Health.MISSING):
            waiting.setdefault(change.service, f"{id_} cannot be made now: {change.reason}")
    return waiting


def _warnings(situation: Situation, changes: Mapping[ResourceId, Change]) -> tuple[Problem, ...]:
    """What the reader should know of the input, and of the resources that this plan would touch."""
    touched = sorted(id_ for id_, change in changes.items() if change.action is not Action.NOOP)
    wanted_ = (change.desired for change in map(changes.__getitem__, touched))
    own = {w: None for desired in wanted_ if desired is not None for w in desired.warnings}
    told = set(situation.problems)
    return (*(w for w in situation.warnings if w not in told), *own)


def _completeness(situation: Situation) -> dict[str, Completeness]:
    names = sorted(situation.observations.keys() | {d.id.target for d in situation.desired})
    return {
        name: situation.observations[name].completeness if name in situation.observations else Completeness.UNAVAILABLE
        for name in names
    }


def _unseen(situation: Situation, targets: Mapping[str, Completeness]) -> dict[str, str]:
    """Why targets were not seen whole, by name."""
    seen = situation.observations
    return {
        name: seen[name].missing if name in seen and seen[name].missing else "it was not looked at"
        for name, state in targets.items()
        if state is not Completeness.COMPLETE
    }


def _stopped(change: Change, reason: str) -> Change:
    """A change that may not run now; whether Git or reality asked for it stays known."""
    return Change(
        change.id,
        Action.NOOP,
        reason,
        change.service,
        desired=change.desired,
        observed=change.observed,
        steps=(),
        drift_only=change.drift_only,
    )


def fingerprint_of(desired: Sequence[Desired]) -> str:
    """One digest over a set of desired resources, whatever their order."""
    return digest(sorted((str(d.id), d.spec_digest) for d in desired))
