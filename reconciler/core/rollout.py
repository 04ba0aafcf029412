"""How a change is carried out: its steps, what it does to those who use the resource, and the mark it leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.core.change import Action, Change, Disruption, FieldChange, Step
from reconciler.core.diff import equal
from reconciler.core.driver import Capabilities
from reconciler.core.patterns import Patterns
from reconciler.core.resources import Desired, Health, Mark, Observed
from reconciler.core.situation import Situation
from reconciler.core.values import MISSING, walk

# Nothing tells which fields are ours: the whole resource is to be written, as if it were created.
DIGEST_FIELD = "/mark/specDigest"
# The resource is as it should be, only its mark names another version.
REVISION_FIELD = "/mark/revision"
MARK_FIELDS = ("/mark/installation", "/mark/protect", REVISION_FIELD)


def mark_of(situation: Situation, desired: Desired) -> Mark:
    """What the resource is to carry once it is as this revision wants it."""
    return Mark(
        installation=situation.installation,
        service=desired.service,
        revision=situation.revision.sha,
        spec_digest=desired.spec_digest,
        self_ref=str(desired.id),
        protect=desired.policy.protect,
    )


def touches(patterns: Sequence[str], kind: str, field: FieldChange) -> bool:
    """Whether a field change concerns a field that one of the patterns names, at its own place, above or below it."""
    if not patterns:
        return False
    named = Patterns(patterns)
    if named.match(kind, field.pointer):
        return True
    before, after = (dict(walk(side, field.pointer)) for side in (field.before, field.after))
    below = {p for p in before.keys() | after.keys() if not equal(before.get(p, MISSING), after.get(p, MISSING))}
    return any(named.match(kind, pointer) for pointer in below)


def is_small(desired: Desired, capabilities: Capabilities, fields: Iterable[FieldChange]) -> bool:
    """Whether the serving version can be changed where it stands: marks, and what the target declares in place."""
    return all(
        field.pointer in MARK_FIELDS or touches(capabilities.in_place, desired.id.kind, field) for field in fields
    )


def is_staged(desired: Desired, capabilities: Capabilities, *, succeeds: bool) -> bool:
    """Whether a new version is staged beside the one before.

    Args:
        succeeds: It takes over from a version of ours, because Git asks for it.
    """
    asked = desired.rollout.staged and (desired.rollout.always or succeeds)
    return asked and desired.id.kind in capabilities.stages


def disruption_of(
    desired: Desired,
    capabilities: Capabilities,
    action: Action,
    fields: Sequence[FieldChange],
    *,
    small: bool,
    staged: bool,
) -> Disruption:
    """What an update or replacement does to those who use the resource."""
    if action is Action.REPLACE and desired.id.kind in capabilities.holds_data:
        return Disruption.DATA_LOSS
    if small or staged:
        return Disruption.NONE
    if action is Action.REPLACE:
        return Disruption.REPLACE
    if any(touches(capabilities.restarts, desired.id.kind, field) for field in fields):
        return Disruption.RESTART
    return Disruption.NONE


def is_tested(desired: Desired, capabilities: Capabilities) -> bool:
    """Whether a version of it has to answer before it counts as applied."""
    return bool(desired.tests) and desired.id.kind in capabilities.endpoints


def steps_of(
    desired: Desired, capabilities: Capabilities, observed: Observed | None, *, small: bool, succeeds: bool = False
) -> tuple[Step, ...]:
    """The calls a change takes: staged, tested and promoted where the target can, else applied and tested.

    What is staged already goes on from the share of the requests that it has reached.

    Args:
        small: Changed where it stands.
        succeeds: As for `is_staged`.
    """
    tests = (Step.TEST,) if is_tested(desired, capabilities) else ()
    if small:
        return (Step.APPLY,)
    if not is_staged(desired, capabilities, succeeds=succeeds):
        return (Step.APPLY, *tests)
    staged = observed.staged if observed else None
    ready = staged is not None and staged.spec_digest == desired.spec_digest and staged.health is Health.HEALTHY
    reached = staged.share if staged is not None and ready else 0
    left = [share for share in desired.rollout.shares if share >= reached]
    shifts = [step for _ in left for step in (Step.SHIFT, *tests)]
    return (*([] if ready else [Step.STAGE]), *tests, *shifts, Step.PROMOTE)


def share_at(change: Change, index: int) -> int:
    """The percentage of the requests that the step at an index moves to the staged version; 0 where it moves none."""
    if change.desired is None or change.steps[index] is not Step.SHIFT:
        return 0
    return change.desired.rollout.shares[-change.steps[index:].count(Step.SHIFT)]
