"""How a change is carried out: its steps, what it does to those who use the resource, and the mark it leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.core.change import Action, Disruption, FieldChange, Step
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


def disruption_of(
    desired: Desired, capabilities: Capabilities, action: Action, fields: Sequence[FieldChange], *, small: bool
) -> Disruption:
    """What an update or replacement does to those who use the resource."""
    if action is Action.REPLACE and desired.id.kind in capabilities.holds_data:
        return Disruption.DATA_LOSS
    if small or desired.id.kind in capabilities.stages:
        return Disruption.NONE
    if action is Action.REPLACE:
        return Disruption.REPLACE
    if any(touches(capabilities.restarts, desired.id.kind, field) for field in fields):
        return Disruption.RESTART
    return Disruption.NONE


def steps_of(
    desired: Desired, capabilities: Capabilities, observed: Observed | None, *, small: bool
) -> tuple[Step, ...]:
    """The calls a change takes: staged, tested and promoted where the target can, else applied and tested."""
    tests = (Step.TEST,) if desired.tests and desired.id.kind in capabilities.endpoints else ()
    if small:
        return (Step.APPLY,)
    if desired.id.kind not in capabilities.stages:
        return (Step.APPLY, *tests)
    staged = observed.staged if observed else None
    ready = staged is not None and staged.spec_digest == desired.spec_digest and staged.health is Health.HEALTHY
    return (*tests, Step.PROMOTE) if ready else (Step.STAGE, *tests, Step.PROMOTE)
