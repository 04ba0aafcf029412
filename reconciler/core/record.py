"""What is recorded of a change that was carried out: the baseline of the next comparison."""

from __future__ import annotations

from reconciler.core.change import Change
from reconciler.core.diff import assign, differences, equal
from reconciler.core.policy import FieldPolicy
from reconciler.core.resources import Baseline, Observed
from reconciler.core.values import MISSING, Spec, lookup


def confirmed(change: Change, observed: Observed, prior: Baseline | None) -> Baseline:
    """The baseline after a change (of any action but delete and forget) was carried out, or needed only recording.

    Drift that is reported but not written back stays known: for those fields what was sent and answered before is
    kept, or else the drift would become the norm at the next change of another field.

    Args:
        change: With its unknowns filled in.
        observed: The resource as the target reports it now.
        prior: What was recorded before.
    """
    desired = change.desired
    mark = change.mark or observed.mark
    sent: Spec = desired.spec if desired else observed.spec
    answered: Spec = observed.spec
    if desired is not None:
        sent, answered = _with_reported_drift(change, sent, answered, prior)
    return Baseline(
        change.id,
        service=change.service,
        sent=sent,
        answered=answered,
        outputs=observed.outputs,
        revision=mark.revision if mark else "",
        protect=mark.protect if mark else False,
        prune=desired.policy.prune if desired else (prior.prune if prior else True),
        depends_on=change.depends_on if desired else (prior.depends_on if prior else ()),
    )


def _with_reported_drift(change: Change, sent: Spec, answered: Spec, prior: Baseline | None) -> tuple[Spec, Spec]:
    """What to record as sent and answered, given that fields under `report` may stand as somebody else left them."""
    assert change.desired is not None
    policy, kind = change.desired.policy, change.id.kind
    if prior is None or prior.sent is None or prior.answered is None:
        if change.steps:
            return sent, answered
        for pointer, wanted, _ in differences(sent, answered):
            if wanted is not MISSING and policy.of_field(kind, pointer) is FieldPolicy.REPORT:
                answered = assign(answered, pointer, wanted)
        return sent, answered
    written = {field.pointer for field in change.fields}
    before: Spec = change.observed.spec if change.observed else {}
    for pointer, was, now in differences(prior.answered, before):
        if policy.of_field(kind, pointer) is not FieldPolicy.REPORT or pointer in written:
            continue
        owned = lookup(prior.sent, pointer)
        if owned is MISSING or not equal(lookup(answered, pointer), now):
            continue
        if change.steps:
            sent = assign(sent, pointer, owned)
        elif equal(lookup(sent, pointer), now):
            continue
        answered = assign(answered, pointer, was)
    return sent, answered
