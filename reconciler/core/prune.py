"""What is ours and no longer wanted: deleted, forgotten, or kept with a reason. Nothing goes on missing information."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.change import Action, Change, Disruption, Kept, Refusal, Way
from reconciler.core.resources import Baseline, Desired, Health, ResourceId
from reconciler.core.situation import Situation


def unwanted(
    situation: Situation, wanted: Mapping[ResourceId, Desired], waiting: Mapping[str, str]
) -> tuple[list[Change], list[Kept], list[Refusal]]:
    """Changes, kept resources and refusals for everything of ours that Git does not name.

    A resource is deleted only if the observation is complete, the mark says that it is ours, and a record of ours
    says so too; a mark without record is recorded first, a record without resource is forgotten.

    Args:
        waiting: Services that do not serve yet where Git wants them, with the reason: they serve on where they did.
    """
    changes: list[Change] = []
    kept: list[Kept] = []
    refusals: list[Refusal] = []
    candidates = situation.baselines.keys() - wanted.keys()
    for observation in situation.observations.values():
        candidates |= {
            i for i, o in observation.resources.items() if i not in wanted and o.owned_by(situation.installation)
        }
    for id_ in sorted(candidates):
        outcome = _verdict(situation, id_, situation.baselines.get(id_), waiting)
        if isinstance(outcome, Change):
            changes.append(outcome)
        elif isinstance(outcome, Kept):
            kept.append(outcome)
        else:
            refusals.append(outcome)
    order = sorted(changes, key=lambda c: (c.id.target.startswith("registry/"), c.id))
    return order, kept, refusals


def _verdict(
    situation: Situation, id_: ResourceId, baseline: Baseline | None, waiting: Mapping[str, str]
) -> Change | Kept | Refusal:
    observation = situation.observations.get(id_.target)
    if observation is None:
        return Kept(id_, f"target {id_.target} was not looked at", "target-not-seen")
    observed = observation.resources.get(id_)
    mark = observed.mark if observed else None
    service = (baseline.service if baseline else "") or (mark.service if mark else "")
    if not observation.complete:
        return Kept(id_, f"the target was not completely seen: {observation.missing}", "partial-observation")
    if not situation.loaded_whole:
        return Kept(id_, "the manifests of this revision have errors, so nothing is deleted", "incomplete-load")
    if observed is None or (observed.health is Health.MISSING and mark is None):
        return Change(id_, Action.FORGET, "gone from Git and from the target", service, steps=())
    if not observed.owned_by(situation.installation):
        return Change(id_, Action.FORGET, "no longer ours, so left alone", service, observed=observed, steps=())
    if service in situation.suspended:
        return Kept(id_, f"service {service} is suspended", "suspended")
    if (baseline and baseline.protect) or (observed.mark and observed.mark.protect):
        return _protected(id_, service, baseline.revision if baseline else mark.revision if mark else "")
    if baseline is None:
        reason = "ours by its mark but not in our records; recorded now, deleted next time"
        return Change(id_, Action.ADOPT, reason, service, observed=observed, steps=(), drift_only=True)
    if not baseline.prune:
        return Kept(id_, "its policy says `prune: false`", "not-pruned")
    capabilities = situation.capabilities[id_.target]
    if id_.kind in capabilities.retained:
        age = situation.now - (baseline.unused_since if baseline.unused_since is not None else situation.now)
        if age < capabilities.retain_seconds:
            days = (capabilities.retain_seconds - age) / 86400
            return Kept(id_, f"not used any more; collected in {days:.0f} days", "retained")
    if observed.busy:
        return Kept(id_, "an earlier operation on it is still in progress", "busy")
    if service in waiting:
        return Kept(id_, f"it goes once {service} serves at its new place; {waiting[service]}", "moves-first")
    if situation.agreed is not None and id_ not in situation.agreed:
        return Kept(id_, "seen once only; it is deleted when a second look finds it too", "seen-once")
    return Change(
        id_,
        Action.DELETE,
        "taken out of Git" if id_.kind not in capabilities.retained else "unused for long",
        service,
        observed=observed,
        disruption=Disruption.NONE if id_.kind in capabilities.retained else Disruption.OUTAGE,
    )


def _protected(id_: ResourceId, service: str, revision: str) -> Refusal:
    """Lifting protection takes one merge, deleting takes the next."""
    since = f" as of {revision[:7]}" if revision else ""
    edit = f"one merge: the document of service {service}{since}, with policy: {{protect: false}}; the next: without it"
    return Refusal(
        "protected",
        f"{id_} is protected and Git no longer names it",
        "what is protected is never deleted by taking its document away",
        id=id_,
        approvable=False,
        ways=(Way("to delete it in two merges", edit=edit),),
    )
