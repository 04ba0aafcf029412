"""The change that one desired resource needs: from its three sides, with what only the mark or the record can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.change import Action, Cause, Change, Drift, DriftedField, FieldChange, Step
from reconciler.core.dataclass import replace
from reconciler.core.diff import equal
from reconciler.core.driver import Capabilities
from reconciler.core.outputs import fill
from reconciler.core.resources import Baseline, Desired, Health, Observed, ResourceId
from reconciler.core.rollout import (
    DIGEST_FIELD,
    REVISION_FIELD,
    disruption_of,
    is_small,
    is_staged,
    is_tested,
    mark_of,
    steps_of,
    touches,
)
from reconciler.core.situation import Situation
from reconciler.core.three_way import Comparison, three_way
from reconciler.core.values import MISSING, Spec, by_reference, digest, lookup, unknowns


def _noop(desired: Desired, observed: Observed | None) -> Change:
    return Change(desired.id, Action.NOOP, "in sync", desired.service, desired=desired, observed=observed, steps=())


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


def wanted(
    situation: Situation,
    desired: Desired,
    observed: Observed | None,
    baseline: Baseline | None,
    changes: Mapping[ResourceId, Change],
    needed: tuple[ResourceId, ...],
) -> tuple[Change, Drift | None]:
    """The change that one desired resource needs, and its drift.

    Args:
        needed: What it needs first, as `core.outputs.needs` says.
    """
    spec = desired.spec
    if needed is not desired.depends_on:
        spec = fill(spec, lambda source: _outputs(situation, changes, source))
    if observed is None or observed.health is Health.MISSING:
        return _absent(situation, desired, spec, observed, baseline, needed)
    if baseline is not None and _untouched(spec, observed, baseline, desired, situation.installation, needed):
        return _noop(desired, observed), None
    capabilities = situation.capabilities[desired.id.target]
    mine = observed.owned_by(situation.installation)
    recorded = baseline is not None and (baseline.sent is not None or baseline.pending is not None)
    interrupted = baseline is not None and baseline.pending is not None
    comparison = _compare(desired, spec, observed, baseline, capabilities, mine=mine)
    drifted = Drift(desired.id, desired.service, comparison.drift) if comparison.drift else None
    fields = _with_mark(situation, desired, observed, baseline, comparison, mine=mine)
    if spec is not desired.spec:
        fields = tuple(_with_source(field, desired.spec) for field in fields)
    if not fields:
        return _settled(situation, desired, observed, baseline, comparison, needed), drifted
    reason = _reason(fields, mine=mine, recorded=recorded, interrupted=interrupted)
    drift_only = all(f.cause is Cause.DRIFT for f in fields)
    action = Action.UPDATE if mine else Action.ADOPT
    if any(touches(capabilities.immutable, desired.id.kind, field) for field in fields):
        action = Action.REPLACE
        comparison = _compare(desired, spec, observed, baseline, capabilities, mine=mine, anew=True)
        fields = _with_mark(situation, desired, observed, baseline, comparison, mine=mine)
    small = action is not Action.REPLACE and is_small(desired, capabilities, fields)
    succeeds = action is Action.UPDATE and not drift_only
    staged = is_staged(desired, capabilities, succeeds=succeeds)
    change = Change(
        desired.id,
        action,
        reason,
        desired.service,
        fields=fields,
        desired=_with_spec(desired, comparison.effective),
        rendered=desired.spec,
        observed=observed,
        mark=mark_of(situation, desired),
        disruption=disruption_of(desired, capabilities, action, fields, small=small, staged=staged),
        depends_on=needed,
        steps=steps_of(desired, capabilities, observed, small=small, succeeds=succeeds),
        drift_only=drift_only,
        reported=_reported(comparison),
        carried=comparison.carried,
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
    anew: bool = False,
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
        capabilities.closed,
        anew=anew,
    )


def _reported(comparison: Comparison) -> tuple[DriftedField, ...]:
    """Drift that a write leaves as it is."""
    return tuple(field for field in comparison.drift if not field.written)


def _untouched(
    spec: Spec,
    observed: Observed,
    baseline: Baseline,
    desired: Desired,
    installation: str,
    needed: tuple[ResourceId, ...],
) -> bool:
    """The common case, by whole-value comparison: nothing changed on any side."""
    return (
        baseline.sent is not None
        and observed.staged is None
        and observed.owned_by(installation)
        and not _out_of_date(baseline, observed, desired, needed)
        and equal(spec, baseline.sent)
        and equal(observed.spec, baseline.answered)
    )


def _out_of_date(baseline: Baseline, observed: Observed, desired: Desired, needed: tuple[ResourceId, ...]) -> bool:
    """Whether the record (or the mark) says something else about the resource than Git does, its spec apart."""
    return (
        baseline.pending is not None
        or observed.mark is None
        or not observed.mark.protect == desired.policy.protect == baseline.protect
        or baseline.prune != desired.policy.prune
        or baseline.service != desired.service
        or baseline.depends_on != needed
        or baseline.unused_since is not None
    )


def _absent(
    situation: Situation,
    desired: Desired,
    spec: Spec,
    observed: Observed | None,
    baseline: Baseline | None,
    needed: tuple[ResourceId, ...],
) -> tuple[Change, Drift | None]:
    capabilities = situation.capabilities[desired.id.target]
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
        rendered=desired.spec,
        observed=observed,
        mark=mark_of(situation, desired),
        depends_on=needed,
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
        fields.append(FieldChange(DIGEST_FIELD, "another", digest(by_reference(desired.spec))[:12]))
    elif baseline.pending is not None and not fields:
        fields.append(FieldChange(REVISION_FIELD, mark.revision[:12], situation.revision.sha[:12]))
    return tuple(fields)


def _with_source(field: FieldChange, rendered: Spec) -> FieldChange:
    """A field whose value another resource has told, with the unknown that stood there: it is still the same change."""
    said = lookup(rendered, field.pointer)
    return replace(field, unfilled=said) if said is not MISSING and unknowns(said) else field


def _settled(
    situation: Situation,
    desired: Desired,
    observed: Observed,
    baseline: Baseline | None,
    comparison: Comparison,
    needed: tuple[ResourceId, ...],
) -> Change:
    """Nothing to write; perhaps something to record or to clear away."""
    change = Change(
        desired.id,
        Action.ADOPT,
        "",
        desired.service,
        desired=_with_spec(desired, comparison.effective),
        rendered=desired.spec,
        observed=observed,
        mark=mark_of(situation, desired),
        depends_on=needed,
        steps=(),
        drift_only=True,
        reported=_reported(comparison),
        carried=comparison.carried,
    )
    if observed.staged is not None:
        reason = "a staged version was left over"
        return replace(change, action=Action.UPDATE, reason=reason, steps=(Step.DISCARD,))
    if baseline is not None and baseline.pending is not None:
        capabilities = situation.capabilities[desired.id.target]
        if baseline.pending.step == Step.APPLY and is_tested(desired, capabilities):
            # Written, and not known to work: it is tested now, and goes back if it fails.
            reason = "an interrupted change is there, and not tested yet"
            return replace(change, action=Action.UPDATE, reason=reason, steps=(Step.TEST,), drift_only=False)
        return replace(change, reason="an interrupted change turned out to be complete")
    if baseline is None or baseline.sent is None:
        return replace(change, reason="ours by its mark, not in our records")
    if comparison.stale or _out_of_date(baseline, observed, desired, needed):
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
