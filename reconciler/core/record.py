"""What is recorded of a change that was carried out: the baseline of the next comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.core.change import Action, Change
from reconciler.core.dataclass import replace
from reconciler.core.diff import assign
from reconciler.core.resources import Baseline, Observed
from reconciler.core.secrets import Secret
from reconciler.core.three_way import three_way
from reconciler.core.values import MISSING, Spec, transform, walk


def intended(change: Change) -> Spec | None:
    """What the record says is sent by a change; None for a deletion.

    Fields that stay as somebody else left them are written as they are and still count as sent as they were, or else
    the drift would become the norm at the next change of another field; what is others' is never ours.
    """
    if change.desired is None or change.action is Action.DELETE:
        return None
    sent: Any = change.desired.spec
    for field in change.reported:
        sent = assign(sent, field.pointer, field.wanted)
    # From the end, since an item that goes moves those after it.
    for field in reversed(change.carried):
        sent = sent if field.wanted is not MISSING else assign(sent, field.pointer, MISSING)
    return sent


def confirmed(change: Change, observed: Observed, prior: Baseline | None) -> Baseline:
    """The baseline after a change (of any action but delete and forget) was carried out, or needed only recording.

    Args:
        change: With its unknowns filled in.
        observed: The resource as the target reports it now.
        prior: What was recorded before.
    """
    desired = change.desired
    mark = change.mark or observed.mark
    sent = intended(change)
    return Baseline(
        change.id,
        service=change.service,
        sent=sent if sent is not None else observed.spec,
        answered=_as_left(change, observed.spec),
        outputs=observed.outputs,
        revision=mark.revision if mark else "",
        protect=mark.protect if mark else False,
        prune=desired.policy.prune if desired else (prior.prune if prior else True),
        depends_on=change.depends_on if desired else (prior.depends_on if prior else ()),
    )


def undone(
    change: Change, observed: Observed, before: Spec, write_only: Sequence[str] = (), closed: Sequence[str] = ()
) -> Change:
    """The change that brings a version back which was in place before this one, policies observed.

    Args:
        observed: What stands there now.
        before: What was sent then.
        write_only, closed: As in the capabilities.
    """
    assert change.desired is not None
    compared = three_way(
        change.id.kind,
        before,
        observed.spec,
        intended(change),
        _as_left(change, observed.spec),
        policy=change.desired.policy,
        write_only=write_only,
        closed=closed,
    )
    at_hand = {s.fingerprint: s for _, s in walk(change.desired.spec) if isinstance(s, Secret) and s.text is not None}

    def with_text(value: Any) -> Any:
        return at_hand.get(value.fingerprint, value) if isinstance(value, Secret) else value

    desired = replace(change.desired, spec=transform(compared.effective, with_text))
    mark = replace(change.mark, spec_digest=replace(desired, spec=before).spec_digest) if change.mark else None
    return replace(
        change,
        action=Action.REPLACE if change.action is Action.REPLACE else Action.UPDATE,
        fields=compared.changes,
        desired=desired,
        mark=mark,
        observed=observed,
        reported=tuple(field for field in compared.drift if not field.written),
        carried=compared.carried,
    )


def _as_left(change: Change, spec: Spec) -> Spec:
    """What the target reports, with drift that stays taken for undone."""
    answered: Any = spec
    for field in change.reported:
        answered = assign(answered, field.pointer, field.left)
    return answered
