"""Planning: (desired, observations, baselines, policy) -> Plan. Pure; the only place that decides what is done.

`plan` walks the desired resources in dependency order (`_wanted`), then what is ours and no longer wanted
(`core.prune`), then asks the rails (`core.safety`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.core.change import (
    Action,
    Blocked,
    Cause,
    Change,
    Disruption,
    Drift,
    FieldChange,
    Plan,
    Refusal,
    Step,
)
from reconciler.core.diff import Comparison, equal, three_way
from reconciler.core.driver import Capabilities
from reconciler.core.order import in_order
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.prune import unwanted
from reconciler.core.resources import (
    Baseline,
    Completeness,
    Desired,
    Health,
    Mark,
    Observation,
    Observed,
    ResourceId,
)
from reconciler.core.safety import refusals_of
from reconciler.core.situation import Memo, Situation
from reconciler.core.values import MISSING, Unknown, digest, lookup, transform, unknowns

DIGEST_FIELD = "/mark/specDigest"


def plan(situation: Situation, memo: Memo | None = None) -> Plan:
    """The plan for a situation.

    Args:
        memo: Outcomes of the last plan of this process; what did not change is not compared again.

    Raises:
        InvalidError: Resources depend on each other in a circle.
    """
    by_id = {desired.id: desired for desired in situation.desired}
    ids = in_order(sorted(by_id), {i: d.depends_on for i, d in by_id.items()})
    changes: dict[ResourceId, Change] = {}
    drift: list[Drift] = []
    refusals: list[Refusal] = []
    blocked: list[Blocked] = []
    for id_ in ids:
        desired = by_id[id_]
        observation = situation.observations.get(id_.target)
        observed = observation.resources.get(id_) if observation else None
        baseline = situation.baselines.get(id_)
        known = memo.outcomes.get(id_) if memo else None
        if known and known[0] is desired and known[1] is observed and known[2] is baseline and observation is not None:
            change, drifted = known[3], known[4]
        else:
            change, drifted = _wanted(situation, desired, observation, observed, baseline, changes)
            if memo is not None and change.action is Action.NOOP and observed is not None:
                memo.outcomes[id_] = (desired, observed, baseline, change, drifted)
            elif memo is not None:
                memo.outcomes.pop(id_, None)
        if drifted is not None:
            drift.append(drifted)
        outcome = _gate(situation, desired, observation, change, changes)
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
            change = _noop(desired, observed, outcome.message)
        elif isinstance(outcome, Blocked):
            blocked.append(outcome)
            change = _noop(desired, observed, outcome.reason)
        changes[id_] = change
    removals, kept, removal_refusals = unwanted(situation, by_id)
    refusals += removal_refusals
    everything = (*changes.values(), *removals)
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


def _warnings(situation: Situation) -> tuple[Any, ...]:
    seen = {w: None for d in situation.desired for w in d.warnings}
    return (*situation.warnings, *seen)


def _completeness(situation: Situation) -> dict[str, Completeness]:
    names = sorted(situation.observations.keys() | {d.id.target for d in situation.desired})
    return {
        name: situation.observations[name].completeness if name in situation.observations else Completeness.UNAVAILABLE
        for name in names
    }


def _noop(desired: Desired, observed: Observed | None, reason: str = "in sync") -> Change:
    return Change(
        desired.id, Action.NOOP, reason, desired.service, desired=desired, observed=observed, steps=(), fields=()
    )


def _gate(
    situation: Situation,
    desired: Desired,
    observation: Observation | None,
    change: Change,
    changes: Mapping[ResourceId, Change],
) -> Refusal | Blocked | None:
    """Whether a change may run at all, whatever it is."""
    if change.action is Action.NOOP:
        return None
    observed = change.observed
    foreign = observed is not None and not observed.owned_by(situation.installation) and observed.mark != change.mark
    if foreign and not desired.policy.adopt:
        return Refusal(
            "foreign",
            f"{desired.id} exists and is not ours: {_owner(observed)}",
            "rename the service, remove what stands there, or take it over with `policy: {adopt: true}`",
            id=desired.id,
            approvable=False,
        )
    if desired.service in situation.suspended or desired.policy.suspend:
        return Blocked(desired.id, "suspended; `reconciler resume` lets it go on")
    if desired.service and desired.service in situation.incomplete:
        return Blocked(desired.id, "its manifests have errors in this revision")
    if observation is None or observation.completeness is Completeness.UNAVAILABLE:
        why = observation.missing if observation else "the target was not looked at"
        return Blocked(desired.id, f"target {desired.id.target} cannot be seen: {why}")
    if observed is None and not observation.complete:
        return Blocked(desired.id, f"target {desired.id.target} was only partly seen: {observation.missing}")
    if observed is not None and observed.busy:
        return Blocked(desired.id, "an earlier operation on it is still in progress")
    hold = situation.holds.get(desired.id)
    if hold and hold.spec_digest == desired.spec_digest and hold.until > situation.now:
        return Blocked(desired.id, f"{hold.reason}; tried again in {hold.until - situation.now:.0f} s")
    for needed in desired.depends_on:
        if not _available(situation, needed, changes):
            return Blocked(desired.id, f"waits for {needed}")
    return None


def _owner(observed: Observed | None) -> str:
    if observed is None or observed.mark is None:
        return "it carries no mark of a reconciler"
    if observed.mark.self_ref != str(observed.id):
        return f"its mark says it is a copy of {observed.mark.self_ref}"
    return f"it belongs to installation {observed.mark.installation}"


def _available(situation: Situation, needed: ResourceId, changes: Mapping[ResourceId, Change]) -> bool:
    """A dependency that is there, or that this plan brings about."""
    change = changes.get(needed)
    if change is None:
        observation = situation.observations.get(needed.target)
        baseline = situation.baselines.get(needed)
        seen = observation is not None and needed in observation.resources
        return seen or (observation is None and baseline is not None and baseline.sent is not None)
    if change.action is not Action.NOOP:
        return True
    return change.observed is not None and change.observed.health is not Health.MISSING


def _fill(
    situation: Situation, desired: Desired, changes: Mapping[ResourceId, Change]
) -> tuple[Mapping[str, Any], bool]:
    """The spec with every unknown that is known already filled in, and whether any is left."""
    if not unknowns(desired.spec):
        return desired.spec, False
    left = False

    def leaf(value: Any) -> Any:
        nonlocal left
        if not isinstance(value, Unknown):
            return value
        source = ResourceId.parse(value.source)
        change = changes.get(source)
        outputs: Mapping[str, Any] = {}
        if change is not None and change.action is Action.NOOP and change.observed is not None:
            outputs = change.observed.outputs
        elif change is None and source in situation.baselines:
            outputs = situation.baselines[source].outputs
        found = lookup(outputs, value.pointer)
        if found is MISSING:
            left = True
            return value
        return found

    return transform(desired.spec, leaf), left


def _wanted(
    situation: Situation,
    desired: Desired,
    observation: Observation | None,
    observed: Observed | None,
    baseline: Baseline | None,
    changes: Mapping[ResourceId, Change],
) -> tuple[Change, Drift | None]:
    """The change that one desired resource needs, and its drift."""
    capabilities = situation.capabilities[desired.id.target]
    spec, _ = _fill(situation, desired, changes)
    if observed is None or observed.health is Health.MISSING:
        return _absent(situation, desired, observation, observed, baseline, capabilities)
    mine = observed.owned_by(situation.installation)
    recorded = baseline is not None and (baseline.sent is not None or baseline.pending is not None)
    if mine and baseline is not None and _untouched(spec, observed, baseline, desired):
        return _noop(desired, observed), None
    pending = baseline.pending if baseline else None
    comparison = three_way(
        desired.id.kind,
        spec,
        observed.spec,
        baseline.sent if baseline else None,
        baseline.answered if baseline else None,
        pending.sent if pending else None,
        desired.policy,
        capabilities.write_only,
    )
    fields = _with_mark(situation, desired, observed, comparison, mine, recorded, pending is not None)
    drifted = _drift(desired, comparison)
    if not fields:
        return _settled(desired, observed, mine, recorded, pending is not None, situation), drifted
    action = Action.ADOPT if not mine else Action.UPDATE
    rules = _rules(capabilities.immutable)
    if any(rules.of_field(desired.id.kind, f.pointer) is FieldPolicy.IGNORE for f in fields):
        action = Action.REPLACE
    in_place = _rules(capabilities.in_place)
    small = all(in_place.of_field(desired.id.kind, f.pointer) is FieldPolicy.IGNORE for f in fields)
    change = Change(
        desired.id,
        action,
        _reason(fields, mine, recorded, pending is not None),
        desired.service,
        fields=fields,
        desired=_effective(desired, spec, comparison),
        observed=observed,
        mark=_mark(situation, desired),
        disruption=_disruption(desired, capabilities, action, fields, small),
        depends_on=desired.depends_on,
        steps=_steps(desired, capabilities, observed, small),
        drift_only=bool(fields) and all(f.cause is Cause.DRIFT for f in fields),
    )
    return change, drifted


def _rules(pointers: Iterable[str]) -> Policy:
    return Policy(rules=tuple(DriftRule(pointer, FieldPolicy.IGNORE) for pointer in pointers))


def _untouched(spec: Mapping[str, Any], observed: Observed, baseline: Baseline, desired: Desired) -> bool:
    """The common case, by whole-value comparison: nothing changed on any side."""
    return (
        baseline.pending is None
        and baseline.sent is not None
        and observed.staged is None
        and observed.mark is not None
        and observed.mark.protect == desired.policy.protect == baseline.protect
        and baseline.prune == desired.policy.prune
        and baseline.service == desired.service
        and baseline.unused_since is None
        and spec == baseline.sent
        and observed.spec == baseline.answered
    )


def _absent(
    situation: Situation,
    desired: Desired,
    observation: Observation | None,
    observed: Observed | None,
    baseline: Baseline | None,
    capabilities: Capabilities,
) -> tuple[Change, Drift | None]:
    existed = baseline is not None and baseline.sent is not None
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
        desired=desired,
        observed=observed,
        mark=_mark(situation, desired),
        depends_on=desired.depends_on,
        steps=_steps(desired, capabilities, observed, small=False),
        drift_only=existed and baseline is not None and equal(baseline.sent, desired.spec),
    )
    return change, drifted


def _effective(desired: Desired, spec: Mapping[str, Any], comparison: Comparison) -> Desired:
    """The desired resource as it is to be written: fields that are not ours to write keep the target's values."""
    from dataclasses import replace

    same = comparison.effective is spec and spec is desired.spec
    return desired if same else replace(desired, spec=comparison.effective)


def _mark(situation: Situation, desired: Desired) -> Mark:
    return Mark(
        installation=situation.installation,
        service=desired.service,
        revision=situation.revision.sha,
        spec_digest=desired.spec_digest,
        self_ref=str(desired.id),
        protect=desired.policy.protect,
    )


def _with_mark(
    situation: Situation,
    desired: Desired,
    observed: Observed,
    comparison: Comparison,
    mine: bool,
    recorded: bool,
    interrupted: bool,
) -> tuple[FieldChange, ...]:
    """The field changes, with those of the mark: whose it is, whether protected, and what cannot be compared."""
    fields = list(comparison.changes)
    mark = observed.mark
    if not mine:
        before = mark.installation if mark else MISSING
        fields.append(FieldChange("/mark/installation", before, situation.installation))
    elif mark is not None and mark.protect != desired.policy.protect:
        fields.append(FieldChange("/mark/protect", mark.protect, desired.policy.protect))
    # Without a record, only the mark's digest can tell whether fields were left behind that Git has since removed.
    if mine and mark is not None and (interrupted or not recorded) and mark.spec_digest != desired.spec_digest:
        fields.append(FieldChange(DIGEST_FIELD, mark.spec_digest[:12], desired.spec_digest[:12]))
    return tuple(fields)


def _drift(desired: Desired, comparison: Comparison) -> Drift | None:
    if not comparison.drift:
        return None
    healing = any(
        desired.policy.of_field(desired.id.kind, field.pointer) is FieldPolicy.HEAL for field in comparison.drift
    )
    return Drift(desired.id, desired.service, comparison.drift, healing=healing)


def _settled(
    desired: Desired, observed: Observed, mine: bool, recorded: bool, interrupted: bool, situation: Situation
) -> Change:
    """Nothing to write; perhaps something to record or to clear away."""
    if observed.staged is not None:
        return Change(
            desired.id,
            Action.UPDATE,
            "a staged version was left over",
            desired.service,
            desired=desired,
            observed=observed,
            mark=_mark(situation, desired),
            steps=(Step.DISCARD,),
            drift_only=True,
        )
    if mine and recorded and not interrupted:
        return _noop(desired, observed)
    reason = (
        "an interrupted change turned out to be complete" if interrupted else "ours by its mark, not in our records"
    )
    return Change(
        desired.id,
        Action.ADOPT,
        reason,
        desired.service,
        desired=desired,
        observed=observed,
        mark=_mark(situation, desired),
        steps=(),
        drift_only=True,
    )


def _reason(fields: Sequence[FieldChange], mine: bool, recorded: bool, interrupted: bool) -> str:
    if not mine:
        return "taken over, as policy.adopt asks"
    if interrupted:
        return "an earlier change was interrupted"
    if not recorded:
        return "ours by its mark, not in our records, and different"
    causes = {field.cause for field in fields}
    if causes == {Cause.DRIFT}:
        return "changed outside of Git"
    return "changed in Git" if causes == {Cause.PENDING} else "changed in Git and outside of it"


def _disruption(
    desired: Desired, capabilities: Capabilities, action: Action, fields: Sequence[FieldChange], small: bool
) -> Disruption:
    if small or desired.id.kind in capabilities.stages:
        return Disruption.NONE
    if action is Action.REPLACE:
        return Disruption.REPLACE
    restarts = _rules(capabilities.restarts)
    if any(restarts.of_field(desired.id.kind, f.pointer) is FieldPolicy.IGNORE for f in fields):
        return Disruption.RESTART
    return Disruption.NONE


def _steps(desired: Desired, capabilities: Capabilities, observed: Observed | None, small: bool) -> tuple[Step, ...]:
    tests = (Step.TEST,) if desired.tests and desired.id.kind in capabilities.endpoints else ()
    if desired.id.kind not in capabilities.stages or small:
        return (Step.APPLY, *(() if small else tests))
    staged = observed.staged if observed else None
    ready = staged is not None and staged.spec_digest == desired.spec_digest and staged.health is Health.HEALTHY
    return (*tests, Step.PROMOTE) if ready else (Step.STAGE, *tests, Step.PROMOTE)


def fingerprint_of(desired: Sequence[Desired]) -> str:
    """One digest over a set of desired resources, whatever their order."""
    return digest(sorted((str(d.id), d.spec_digest) for d in desired))
