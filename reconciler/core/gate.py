"""Whether the change of one resource may run now: ownership, suspension, sight of the target, holds, dependencies."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.core.change import Action, Blocked, Change, Disruption, Refusal, Way
from reconciler.core.moves import is_protected, obstacle
from reconciler.core.resources import Completeness, Desired, Health, Observation, Observed, ResourceId
from reconciler.core.rollout import touches
from reconciler.core.situation import Situation
from reconciler.core.values import Unknown, unknowns


def gate(
    situation: Situation,
    desired: Desired,
    observation: Observation | None,
    change: Change,
    changes: Mapping[ResourceId, Change],
    stopped: Collection[ResourceId],
    needed: Collection[ResourceId],
) -> Refusal | Blocked | None:
    """What stands against a change, or None if it may run.

    Args:
        changes: Of the resources before it in dependency order.
        stopped: Those of them that were themselves refused or blocked.
        needed: What must be there first.
    """
    if change.action is Action.NOOP:
        return None
    refusal = (
        _foreign(situation, desired, change)
        or _loses_data(situation, desired, change)
        or _irreplaceable(situation, desired, change)
    )
    if refusal is not None:
        return refusal
    if desired.service in situation.suspended or desired.policy.suspend:
        return Blocked(desired.id, "suspended; `reconciler resume` lets it go on")
    if desired.service and desired.service in situation.incomplete:
        return Blocked(desired.id, "its manifests have errors in this revision")
    if observation is None or observation.completeness is Completeness.UNAVAILABLE:
        why = observation.missing if observation else "the target was not looked at"
        return Blocked(desired.id, f"target {desired.id.target} cannot be seen: {why}")
    observed = change.observed
    if observed is None and not observation.complete:
        return Blocked(desired.id, f"target {desired.id.target} was only partly seen: {observation.missing}")
    if observed is not None and observed.busy:
        return Blocked(desired.id, "an earlier operation on it is still in progress", "busy")
    stays, code = obstacle(situation, change)
    if stays:
        return Blocked(desired.id, f"it moves from {change.moved_from}, which stays: {stays}", code)
    if not change.writes:
        return None
    hold = situation.holds.get(desired.id)
    if hold and hold.spec_digest == desired.spec_digest and hold.until > situation.now:
        return Blocked(desired.id, f"{hold.reason}; tried again in {hold.until - situation.now:.0f} s")
    for id_ in needed:
        if id_ in stopped or not _available(situation, id_, changes):
            return Blocked(desired.id, f"waits for {id_}")
    for unknown in unknowns(change.desired.spec if change.desired else {}):
        if not _coming(unknown, changes):
            return Blocked(desired.id, f"waits for {unknown.source}, which does not report {unknown.pointer}")
    return None


def _foreign(situation: Situation, desired: Desired, change: Change) -> Refusal | None:
    """Why a resource that is not ours is not touched; one that is only known to be gone is nobody's."""
    observed = change.observed
    if observed is None or observed.owned_by(situation.installation):
        return None
    if observed.health is Health.MISSING and observed.mark is None:
        return None
    if not desired.policy.adopt:
        return Refusal(
            "foreign",
            f"{desired.id} exists and is not ours: {_owner(observed)}",
            "find out whose it is and who uses it",
            id=desired.id,
            approvable=False,
            ways=(
                Way("to take it over", edit=f"{document_of(situation, desired)}: policy: {{adopt: true}}"),
                _left_alone(situation, desired),
            ),
        )
    if change.action is Action.REPLACE:
        fixed = [f for f in change.fields if not f.pointer.startswith("/mark/")]
        return Refusal(
            "foreign",
            f"{desired.id} is not ours and cannot be taken over, since fields differ that cannot be changed in place: "
            + ", ".join(field.pointer for field in fixed),
            "what stands there would have to be deleted first, and that is not ours to do",
            id=desired.id,
            approvable=False,
            ways=(
                Way(
                    "to take it over as it is, make these equal to what stands there",
                    edit=f"{document_of(situation, desired)}: {', '.join(field.pointer for field in fixed)}",
                ),
                _left_alone(situation, desired),
            ),
        )
    return None


def _loses_data(situation: Situation, desired: Desired, change: Change) -> Refusal | None:
    """Why something protected is not replaced by an empty one, as its target or our record has it protected."""
    if change.disruption is not Disruption.DATA_LOSS or not is_protected(situation, desired.id):
        return None
    fields = ", ".join(field.pointer for field in change.fields if not field.pointer.startswith("/mark/"))
    return Refusal(
        "protected",
        f"{desired.id} is protected, and replacing it would lose its data; cannot be changed in place: {fields}",
        "back its data up before anything else",
        id=desired.id,
        approvable=False,
        ways=(
            Way("to keep it as it is", edit=f"{document_of(situation, desired)}: {fields} as it was before"),
            Way(
                "to replace it in two merges",
                edit=f"{document_of(situation, desired)}: one merge: policy: {{protect: false}}; the next: {fields}",
            ),
        ),
    )


def _irreplaceable(situation: Situation, desired: Desired, change: Change) -> Refusal | None:
    """Why something that others live on is not made anew where a field of it cannot be changed."""
    if (
        change.action is not Action.REPLACE
        or desired.id.kind not in situation.capabilities[desired.id.target].irreplaceable
    ):
        return None
    fixed = [
        f for f in change.fields if touches(situation.capabilities[desired.id.target].immutable, desired.id.kind, f)
    ]
    fields = ", ".join(field.pointer for field in fixed)
    return Refusal(
        "irreplaceable",
        f"{desired.id} cannot be changed in place, and is not deleted to be made anew: {fields}",
        "everything on it would go with it",
        id=desired.id,
        approvable=False,
        ways=(
            Way("to keep it as it is", edit=f"{document_of(situation, desired)}: {fields} as it was before"),
            Way(
                "to have another one, make it beside this one, move the services over, then take this one out",
                edit="a document of its own with another name",
            ),
        ),
    )


def _left_alone(situation: Situation, desired: Desired) -> Way:
    if not desired.service:
        return Way("to leave it alone", edit=f"give {desired.id.name} another name or version where it is declared")
    return Way("to leave it alone", edit=f"{document_of(situation, desired, part='metadata')}: another name")


def document_of(situation: Situation, desired: Desired, part: str = "spec") -> str:
    """Where people edit what a resource follows from: `services/diabetes.yaml:1, below spec`."""
    if desired.position is not None:
        return f"{desired.position}, below {part}"
    service = desired.service
    if not service:
        # An artifact has no policy of its own: it follows that of a service that needs it.
        service = next((d.service for d in situation.desired if d.service and desired.id in d.depends_on), "")
    deployment = situation.deployments.get(service)
    if deployment is not None and deployment.position is not None:
        return f"{deployment.position}, below {part}"
    return f"the document of {f'service {service}' if service else desired.id.name}, below {part}"


def _owner(observed: Observed) -> str:
    if observed.mark is None:
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
        seen = observation.resources.get(needed) if observation else None
        if seen is not None:
            return seen.health is not Health.MISSING
        return observation is None and baseline is not None and baseline.sent is not None
    # What needs no write is there: a missing resource would need one, or be stopped.
    return True


def _coming(unknown: Unknown, changes: Mapping[ResourceId, Change]) -> bool:
    """Whether carrying out this plan can tell what an unknown is."""
    change = changes.get(ResourceId.parse(unknown.source))
    return change is not None and change.writes
