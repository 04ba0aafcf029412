"""Planning: (desired, observations, baselines, policy) -> Plan. Pure; the only place that decides what is done.

`plan` walks the desired resources in dependency order: what each needs (`_wanted`) and whether that may run now
(`core.gate`); then what is ours and no longer wanted (`core.prune`); then it asks the rails (`core.safety`).
How a change is carried out is `core.rollout`'s, what is recorded of it `core.record`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.core.change import (
    Action,
    Blocked,
    Cause,
    Change,
    Drift,
    FieldChange,
    Plan,
    Refusal,
    Step,
)
from reconciler.core.diff import Comparison, equal, three_way
from reconciler.core.driver import Capabilities
from reconciler.core.gate import gate
from reconciler.core.order import in_order
from reconciler.core.outputs import fill, needs
from reconciler.core.policy import FieldPolicy
from reconciler.core.problems import Problem
from reconciler.core.prune import unwanted
from reconciler.core.resources import Baseline, Completeness, Desired, Health, Observed, ResourceId
from reconciler.core.rollout import (
    DIGEST_FIELD,
    REVISION_FIELD,
    disruption_of,
    is_small,
    mark_of,
    renamed_from,
    steps_of,
    touches,
)
from reconciler.core.safety import refusals_of
from reconciler.core.situation import Memo, Situation
from reconciler.core.values import MISSING, Spec, digest, unknowns


def plan(situation: Situation, memo: Memo | None = None) -> Plan:
    """The plan for a situation.

    Args:
        memo: Outcomes of the last plan of this process; what did not change is not compared again.

    Raises:
        InvalidError: Resources depend on each other in a circle.
    """
    by_id = {desired.id: desired for desired in situation.desired}
    needed = {id_: needs(desired) for id_, desired in by_id.items()}
    changes: dict[ResourceId, Change] = {}
    drift: list[Drift] = []
    refusals: list[Refusal] = []
    blocked: list[Blocked] = []
    stopped: set[ResourceId] = set()
    for id_ in in_order(sorted(by_id), needed):
        desired = by_id[id_]
        observation = situation.observations.get(id_.target)
        observed = observation.resources.get(id_) if observation else None
        change, drifted = _remembered(situation, memo, desired, observed, changes)
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
    if memo is not None:
        memo.outcomes = {id_: outcome for id_, outcome in memo.outcomes.items() if id_ in by_id}
    removals, kept, removal_refusals = unwanted(situation, by_id)
    refusals += removal_refusals
    everything = (*_with_renames(changes.values(), removals), *removals)
    refusals += refusals_of(situation, everything)
    return Plan(
        revision=situation.revision,
        changes=everything,
        drift=tuple(drift),
        kept=tuple(kept),
        refusals=tuple(refusals),
        blocked=tuple(blocked),
        warnings=_warnings(situation),
        problems=situation.problems,
        targets=_completeness(situation),
        suspended=tuple(sorted(situation.suspended)),
    )


def _remembered(
    situation: Situation,
    memo: Memo | None,
    desired: Desired,
    observed: Observed | None,
    changes: Mapping[ResourceId, Change],
) -> tuple[Change, Drift | None]:
    """The change of one resource, from the memo if all that it follows from is the very same."""
    baseline = situation.baselines.get(desired.id)
    known = memo.outcomes.get(desired.id) if memo else None
    if known and known[0] is desired and known[1] is observed and known[2] is baseline:
        return known[3], known[4]
    change, drifted = _wanted(situation, desired, observed, baseline, changes)
    if memo is not None:
        memo.outcomes.pop(desired.id, None)
        # A spec with unknowns follows from other resources too, so its outcome is not remembered.
        if change.action is Action.NOOP and observed is not None and not unknowns(desired.spec):
            memo.outcomes[desired.id] = (desired, observed, baseline, change, drifted)
    return change, drifted


def _with_renames(changes: Iterable[Change], removals: Sequence[Change]) -> list[Change]:
    """The changes, with creations pointed out that look like the other half of a deletion."""
    result: list[Change] = []
    for change in changes:
        twin = renamed_from(change, removals) if change.action is Action.CREATE else None
        note = f"{change.reason}; same content as {twin.id}, which goes: renamed?" if twin else change.reason
        result.append(replace(change, reason=note) if twin else change)
    return result


def _warnings(situation: Situation) -> tuple[Problem, ...]:
    own = {w: None for d in sorted(situation.desired, key=lambda d: d.id) for w in d.warnings}
    return (*situation.warnings, *own)


def _completeness(situation: Situation) -> dict[str, Completeness]:
    names = sorted(situation.observations.keys() | {d.id.target for d in situation.desired})
    return {
        name: situation.observations[name].completeness if name in situation.observations else Completeness.UNAVAILABLE
        for name in names
    }


def _noop(desired: Desired, observed: Observed | None) -> Change:
    return Change(desired.id, Action.NOOP, "in sync", desired.service, desired=desired, observed=observed, steps=())


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


def _outputs(
    situation: Situation, changes: Mapping[ResourceId, Change], source: ResourceId
) -> Mapping[str, Any] | None:
    """What a resource gives to others, if nothing in this plan may still change it."""
    change = changes.get(source)
    if change is not None:
        return change.observed.outputs if change.observed is not None and not change.writes else None
    observation = situation.observations.get(source.target)
    observed = observation.resources.get(source) if observation else None
    if observed is not None and observed.owned_by(situation.installation):
        return observed.outputs
    baseline = situation.baselines.get(source)
    return baseline.outputs if baseline else None


def _wanted(
    situation: Situation,
    desired: Desired,
    observed: Observed | None,
    baseline: Baseline | None,
    changes: Mapping[ResourceId, Change],
) -> tuple[Change, Drift | None]:
    """The change that one desired resource needs, and its drift."""
    capabilities = situation.capabilities[desired.id.target]
    spec = fill(desired.spec, lambda source: _outputs(situation, changes, source))
    if observed is None or observed.health is Health.MISSING:
        return _absent(situation, desired, spec, observed, baseline, capabilities)
    if baseline is not None and _untouched(spec, observed, baseline, desired, situation.installation):
        return _noop(desired, observed), None
    mine = observed.owned_by(situation.installation)
    recorded = baseline is not None and (baseline.sent is not None or baseline.pending is not None)
    interrupted = baseline is not None and baseline.pending is not None
    comparison = _compare(desired, spec, observed, baseline, capabilities, mine=mine)
    drifted = _drift(desired, comparison)
    fields = _with_mark(situation, desired, observed, baseline, comparison, mine=mine)
    if not fields:
        return _settled(situation, desired, spec, observed, baseline, comparison), drifted
    action = Action.UPDATE if mine else Action.ADOPT
    if any(touches(capabilities.immutable, desired.id.kind, field) for field in fields):
        action = Action.REPLACE
    small = action is not Action.REPLACE and is_small(desired, capabilities, fields)
    change = Change(
        desired.id,
        action,
        _reason(fields, mine=mine, recorded=recorded, interrupted=interrupted),
        desired.service,
        fields=fields,
        desired=_with_spec(desired, comparison.effective),
        observed=observed,
        mark=mark_of(situation, desired),
        disruption=disruption_of(desired, capabilities, action, fields, small=small),
        depends_on=needs(desired),
        steps=steps_of(desired, capabilities, observed, small=small),
        drift_only=all(f.cause is Cause.DRIFT for f in fields),
    )
    return change, drifted


def _compare(
    desired: Desired,
    spec: Spec,
    observed: Observed,
    baseline: Baseline | None,
    capabilities: Capabilities,
    *,
    mine: bool,
) -> Comparison:
    pending = baseline.pending if baseline else None
    sent, answered = (baseline.sent, baseline.answered) if baseline else (None, None)
    same = mine and observed.mark is not None and observed.mark.spec_digest == desired.spec_digest
    if same and sent is None and pending is None:
        # Nothing is recorded, but the mark says that just this spec was applied: what differs is drift.
        sent, answered = spec, spec
    return three_way(
        desired.id.kind,
        spec,
        observed.spec,
        sent,
        answered,
        pending.sent if pending else None,
        desired.policy,
        capabilities.write_only,
        rewrite=mine and not same and sent is None,
    )


def _untouched(spec: Spec, observed: Observed, baseline: Baseline, desired: Desired, installation: str) -> bool:
    """The common case, by whole-value comparison: nothing changed on any side."""
    return (
        baseline.sent is not None
        and observed.staged is None
        and observed.owned_by(installation)
        and not _out_of_date(baseline, observed, desired)
        and equal(spec, baseline.sent)
        and equal(observed.spec, baseline.answered)
    )


def _out_of_date(baseline: Baseline, observed: Observed, desired: Desired) -> bool:
    """Whether the record (or the mark) says something else about the resource than Git does, its spec apart."""
    return (
        baseline.pending is not None
        or observed.mark is None
        or not observed.mark.protect == desired.policy.protect == baseline.protect
        or baseline.prune != desired.policy.prune
        or baseline.service != desired.service
        or baseline.depends_on != desired.depends_on
        or baseline.unused_since is not None
    )


def _absent(
    situation: Situation,
    desired: Desired,
    spec: Spec,
    observed: Observed | None,
    baseline: Baseline | None,
    capabilities: Capabilities,
) -> tuple[Change, Drift | None]:
    existed = baseline is not None and baseline.sent is not None and baseline.pending is None
    observation = situation.observations.get(desired.id.target)
    drifted = None
    reason = "new in Git" if baseline is None else "an earlier attempt did not finish"
    if existed:
        why = observed.reason if observed and observed.reason else "it is gone from the target"
        reason = f"gone: {why}"
        seen = observation is not None and (observation.complete or observed is not None)
        drifted = Drift(desired.id, desired.service, (), gone=True, note=why) if seen else None
    change = Change(
        desired.id,
        Action.CREATE,
        reason,
        desired.service,
        desired=_with_spec(desired, spec),
        observed=observed,
        mark=mark_of(situation, desired),
        depends_on=needs(desired),
        steps=steps_of(desired, capabilities, observed, small=False),
        drift_only=existed and baseline is not None and equal(baseline.sent, spec),
    )
    return change, drifted


def _with_spec(desired: Desired, spec: Spec) -> Desired:
    return desired if spec is desired.spec else replace(desired, spec=spec)


def _with_mark(
    situation: Situation,
    desired: Desired,
    observed: Observed,
    baseline: Baseline | None,
    comparison: Comparison,
    *,
    mine: bool,
) -> tuple[FieldChange, ...]:
    """The field changes, with those of the mark: whose it is, whether protected, and what cannot be compared."""
    fields = list(comparison.changes)
    mark = observed.mark
    if not mine or mark is None:
        before = mark.installation if mark else MISSING
        return (*fields, FieldChange("/mark/installation", before, situation.installation))
    if mark.protect != desired.policy.protect:
        fields.append(FieldChange("/mark/protect", mark.protect, desired.policy.protect))
    if mark.spec_digest == desired.spec_digest:
        return tuple(fields)
    if baseline is None or baseline.sent is None:
        # Only the mark's digest can tell that fields may have been left behind which Git has since taken out.
        fields.append(FieldChange(DIGEST_FIELD, mark.spec_digest[:12], desired.spec_digest[:12]))
    elif baseline.pending is not None and not fields:
        fields.append(FieldChange(REVISION_FIELD, mark.revision[:12], situation.revision.sha[:12]))
    return tuple(fields)


def _drift(desired: Desired, comparison: Comparison) -> Drift | None:
    if not comparison.drift:
        return None
    healing = any(
        desired.policy.of_field(desired.id.kind, field.pointer) is FieldPolicy.HEAL for field in comparison.drift
    )
    return Drift(desired.id, desired.service, comparison.drift, healing=healing)


def _settled(
    situation: Situation,
    desired: Desired,
    spec: Spec,
    observed: Observed,
    baseline: Baseline | None,
    comparison: Comparison,
) -> Change:
    """Nothing to write; perhaps something to record or to clear away."""
    change = Change(
        desired.id,
        Action.ADOPT,
        "",
        desired.service,
        desired=_with_spec(desired, spec),
        observed=observed,
        mark=mark_of(situation, desired),
        steps=(),
        drift_only=True,
    )
    if observed.staged is not None:
        reason = "a staged version was left over"
        return replace(change, action=Action.UPDATE, reason=reason, steps=(Step.DISCARD,))
    if baseline is not None and baseline.pending is not None:
        return replace(change, reason="an interrupted change turned out to be complete")
    if baseline is None or baseline.sent is None:
        return replace(change, reason="ours by its mark, not in our records")
    if comparison.stale or _out_of_date(baseline, observed, desired):
        return replace(change, reason="our record of it is out of date")
    return _noop(desired, observed)


def _reason(fields: Sequence[FieldChange], *, mine: bool, recorded: bool, interrupted: bool) -> str:
    if not mine:
        return "taken over, as policy.adopt asks"
    if interrupted:
        return "an earlier change was interrupted"
    causes = {field.cause for field in fields}
    if not recorded and causes != {Cause.DRIFT}:
        return "ours by its mark, not in our records, and different"
    if causes == {Cause.DRIFT}:
        return "changed outside of Git"
    return "changed in Git" if causes == {Cause.PENDING} else "changed in Git and outside of it"


def fingerprint_of(desired: Sequence[Desired]) -> str:
    """One digest over a set of desired resources, whatever their order."""
    return digest(sorted((str(d.id), d.spec_digest) for d in desired))
