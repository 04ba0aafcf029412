"""Planning: (desired, observations, baselines, policy) -> Plan. Pure; the only place that decides what is done.

`plan` walks the desired resources in dependency order (`core.memo`): what each needs (`core.wanted`) and whether that
may run now (`core.gate`); then what is ours and no longer wanted (`core.prune`); then it asks the rails
(`core.safety`). How a change is carried out is `core.rollout`'s, what is recorded of it `core.record`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from reconciler.core.change import Action, Blocked, Change, Plan, Refusal
from reconciler.core.estimate import estimate
from reconciler.core.gate import gate
from reconciler.core.memo import Memo, Outcome, begin, remember
from reconciler.core.moves import moved, moves_of, pointed_out
from reconciler.core.problems import Problem
from reconciler.core.prune import Arrivals, unwanted
from reconciler.core.resources import Completeness, Desired, Health, ResourceId
from reconciler.core.safety import refusals_of, with_digest
from reconciler.core.situation import Situation
from reconciler.core.values import digest
from reconciler.core.wanted import wanted


def plan(situation: Situation, memo: Memo | None = None) -> Plan:
    """The plan for a situation.

    Args:
        memo: Of the last plan of this process; what did not change is not looked at again.

    Raises:
        InvalidError: Resources depend on each other in a circle.
    """
    memo = memo if memo is not None else Memo()
    walk = begin(situation, memo)
    by_id, changes, drift = walk.by_id, walk.changes, walk.drift
    moves = moves_of(situation, by_id)
    refusals: list[Refusal] = []
    blocked: list[Blocked] = []
    stopped: set[ResourceId] = set()
    observations, baselines = situation.observations, situation.baselines
    for id_ in walk.ids:
        desired, needed = by_id[id_], walk.needed[id_]
        observation = observations.get(id_.target)
        observed = observation.resources.get(id_) if observation else None
        baseline = baselines.get(id_)
        known = memo.outcomes.get(id_)
        if known is not None and known.holds(desired, observed, baseline):
            # What is remembered needs no write, so nothing can stand against it.
            changes[id_] = known.change
            if known.drift is not None:
                drift[id_] = known.drift
            continue
        memo.outcomes.pop(id_, None)
        old = moves.old_of.get(id_)
        if old is not None and (observed is None or observed.health is Health.MISSING):
            change, drifted = moved(situation, desired, observed, old, changes, needed)
        else:
            change, drifted = wanted(situation, desired, observed, baseline, changes, needed)
            # A spec with unknowns follows from other resources too, so its outcome is not remembered.
            if change.action is Action.NOOP and observed is not None and needed is desired.depends_on:
                memo.outcomes[id_] = Outcome(desired, observed, baseline, change, drifted)
        drift.pop(id_, None)
        if drifted is not None:
            drift[id_] = drifted
        outcome = gate(situation, desired, observation, change, changes, stopped, needed)
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
            change = _stopped(change, outcome.message)
        elif isinstance(outcome, Blocked):
            blocked.append(outcome)
            change = _stopped(change, outcome.reason)
        if outcome is not None:
            stopped.add(id_)
        changes[id_] = change
    remember(situation, memo, walk)
    arrivals = Arrivals(moves, changes, _not_there_yet(situation.installation, changes, stopped))
    removals, kept, removal_refusals = unwanted(situation, walk.frame.outside, arrivals)
    refusals += removal_refusals
    doing = [change for id_ in walk.ids if (change := changes[id_]).action is not Action.NOOP or change.steps]
    told, looks_renamed = pointed_out(situation, doing, removals, kept)
    changes = changes | told if told else changes
    doing = [*(told.get(change.id, change) for change in doing), *removals]
    everything = (*changes.values(), *removals)
    refusals += refusals_of(situation, doing, everything)
    targets = _completeness(situation, walk.frame.targets)
    made = Plan(
        revision=situation.revision,
        changes=everything,
        drift=tuple(drift[id_] for id_ in sorted(drift, key=walk.frame.place.__getitem__)),
        kept=tuple(kept),
        refusals=tuple(refusals),
        blocked=tuple(blocked),
        warnings=(*_warnings(situation, doing), *looks_renamed),
        problems=situation.problems,
        targets=targets,
        suspended=tuple(sorted(situation.suspended)),
        unseen=_unseen(situation, targets),
        environment=situation.environment,
        estimate=estimate(doing, situation.capabilities),
        basis=situation.basis,
    )
    return with_digest(made)


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


def _warnings(situation: Situation, doing: Iterable[Change]) -> tuple[Problem, ...]:
    """What the reader should know of the input, and of the resources that this plan would touch."""
    wanted_ = (change.desired for change in sorted(doing, key=lambda change: change.id))
    own = {w: None for desired in wanted_ if desired is not None for w in desired.warnings}
    told = set(situation.problems)
    return (*(w for w in situation.warnings if w not in told), *own)


def _completeness(situation: Situation, targets: Collection[str]) -> dict[str, Completeness]:
    """How far each target was seen.

    Args:
        targets: Those at which something is wanted.
    """
    names = sorted({*situation.observations, *targets})
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
