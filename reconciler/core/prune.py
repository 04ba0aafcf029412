"""What is ours and no longer wanted: deleted, forgotten, or kept with a reason. Nothing goes on missing information."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.core.change import Action, Change, Disruption, Kept, Refusal, Way
from reconciler.core.dataclass import dataclass, field
from reconciler.core.moves import Moves, is_protected, keeps_endpoint
from reconciler.core.resources import Baseline, Health, Observed, ResourceId
from reconciler.core.situation import Situation


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What the plan brings about, as far as it decides on what may go.

    Args:
        changes: Of everything that Git names.
        waiting: Services that do not serve yet where Git wants them, with the reason: they serve on where they did.
    """

    moves: Moves = field(default_factory=Moves)
    changes: Mapping[ResourceId, Change] = field(default_factory=dict[ResourceId, Change])
    waiting: Mapping[str, str] = field(default_factory=dict[str, str])

    def renamed(self) -> set[ResourceId]:
        """What goes on under another name without being deleted."""
        arriving = (self.changes[new] for new in self.moves.old_of)
        return {c.moved_from for c in arriving if c.moved_from is not None and c.action is Action.UPDATE}


def unwanted(
    situation: Situation, outside: Iterable[ResourceId], arrivals: Arrivals
) -> tuple[list[Change], list[Kept], list[Refusal]]:
    """Changes, kept resources and refusals for everything of ours that Git does not name.

    A resource is deleted only if the observation is complete, the mark says that it is ours, and a record of ours
    says so too; a mark without record is recorded first, a record without resource is forgotten.

    Args:
        outside: Everything that is recorded or seen, whoever's it is, and that Git does not name.
    """
    changes: list[Change] = []
    kept: list[Kept] = []
    refusals: list[Refusal] = []
    candidates = {id_ for id_ in outside if id_ in situation.baselines or _is_ours(situation, id_)}
    surplus = _surplus(situation, candidates)
    outcomes = {
        id_: _verdict(situation, id_, situation.baselines.get(id_), arrivals, surplus)
        for id_ in sorted(candidates - arrivals.renamed())
    }
    users = _needed(situation, [id_ for id_, outcome in outcomes.items() if not isinstance(outcome, Change)])
    for id_, found in outcomes.items():
        goes = found.action is Action.DELETE if isinstance(found, Change) else _unused(found)
        outcome = Kept(id_, f"{users[id_]} needs it, and stays", "in-use") if goes and id_ in users else found
        if isinstance(outcome, Change):
            changes.append(outcome)
        elif isinstance(outcome, Kept):
            kept.append(outcome)
        else:
            refusals.append(outcome)
    order = sorted(changes, key=lambda c: (c.id.target.startswith("registry/"), c.id))
    return order, kept, refusals


def _verdict(
    situation: Situation,
    id_: ResourceId,
    baseline: Baseline | None,
    arrivals: Arrivals,
    surplus: frozenset[ResourceId],
) -> Change | Kept | Refusal:
    observation = situation.observations.get(id_.target)
    if observation is None:
        return Kept(id_, f"target {id_.target} was not looked at", "target-not-seen")
    observed = observation.resources.get(id_)
    mark = observed.mark if observed else None
    service = (baseline.service if baseline else "") or (mark.service if mark else "")
    successor = arrivals.moves.successors.get(service, "") if service else ""
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
    if is_protected(situation, id_):
        revision = baseline.revision if baseline else mark.revision if mark else ""
        return _protected(situation, id_, service, revision, successor)
    busy = Kept(id_, "an earlier operation on it is still in progress", "busy")
    if baseline is None:
        if observed.busy:
            return busy
        reason = "ours by its mark but not in our records; recorded now, deleted next time"
        return Change(id_, Action.ADOPT, reason, service, observed=observed, steps=(), drift_only=True)
    capabilities = situation.capabilities[id_.target]
    if not baseline.prune and not successor:
        if id_.kind in capabilities.irreplaceable:
            reason = "taken out of Git; it stays where it is, since its policy did not say to delete it"
            return Change(id_, Action.FORGET, reason, service, observed=observed, steps=())
        return Kept(id_, "its policy says `prune: false`", "not-pruned")
    if id_.kind in capabilities.retained:
        age = situation.now - (baseline.unused_since if baseline.unused_since is not None else situation.now)
        if age < capabilities.retain_seconds and id_ not in surplus:
            days = (capabilities.retain_seconds - age) / 86400
            return Kept(id_, f"not used any more; collected in {days:.0f} days", "retained")
    if observed.busy:
        return busy
    goes_on = successor or service
    if goes_on in arrivals.waiting:
        why = arrivals.waiting[goes_on]
        return Kept(id_, f"it goes once {goes_on} serves at its new place; {why}", "moves-first")
    if situation.agreed is not None and id_ not in situation.agreed:
        return Kept(id_, "seen once only; it is deleted when a second look finds it too", "seen-once")
    new = arrivals.moves.new_of.get(id_)
    return Change(
        id_,
        Action.DELETE,
        _why(situation, id_, successor, new, surplus),
        service,
        observed=observed,
        disruption=_disruption(situation, observed, arrivals.changes.get(new) if new is not None else None),
        moved_to=new,
        successor=successor,
    )


def _is_ours(situation: Situation, id_: ResourceId) -> bool:
    """Whether what stands there carries our mark."""
    observation = situation.observations.get(id_.target)
    observed = observation.resources.get(id_) if observation is not None else None
    return observed is not None and observed.owned_by(situation.installation)


def _unused(outcome: Kept | Refusal) -> bool:
    return isinstance(outcome, Kept) and outcome.code == "retained"


def _needed(situation: Situation, staying: Iterable[ResourceId]) -> dict[ResourceId, ResourceId]:
    """What cannot go, since something else of ours stays that is made of it: each with what needs it.

    Artifacts hold on to nothing: an image is whole without the models that it was built of.
    """
    users: dict[ResourceId, ResourceId] = {}
    for user in staying:
        capabilities = situation.capabilities.get(user.target)
        baseline = situation.baselines.get(user)
        if baseline is None or (capabilities is not None and user.kind in capabilities.retained):
            continue
        found = list(baseline.depends_on)
        while found:
            needed = found.pop()
            if needed not in users:
                users[needed] = user
                below = situation.baselines.get(needed)
                found += below.depends_on if below is not None else ()
    return users


def _surplus(situation: Situation, candidates: Iterable[ResourceId]) -> frozenset[ResourceId]:
    """Unused artifacts beyond the number that is kept: those that have been unused for longest."""
    unused: dict[str, list[tuple[float, ResourceId]]] = {}
    for id_ in candidates:
        capabilities, baseline = situation.capabilities.get(id_.target), situation.baselines.get(id_)
        if capabilities and baseline and capabilities.retain_count is not None and id_.kind in capabilities.retained:
            since = baseline.unused_since if baseline.unused_since is not None else situation.now
            unused.setdefault(id_.target, []).append((-since, id_))
    return frozenset(
        id_
        for target, found in unused.items()
        for _, id_ in sorted(found)[situation.capabilities[target].retain_count :]
    )


def _why(
    situation: Situation, id_: ResourceId, successor: str, new: ResourceId | None, surplus: frozenset[ResourceId]
) -> str:
    if successor:
        return f"moved to {new or f'service {successor}'}"
    capabilities = situation.capabilities[id_.target]
    if id_.kind not in capabilities.retained:
        return "taken out of Git"
    return f"unused, and {capabilities.retain_count} newer are kept" if id_ in surplus else "unused for long"


def _disruption(situation: Situation, observed: Observed, arriving: Change | None) -> Disruption:
    """What deleting it does to those who use it."""
    capabilities = situation.capabilities[observed.id.target]
    if observed.id.kind in capabilities.retained | capabilities.accessories:
        return Disruption.NONE
    if observed.id.kind in capabilities.holds_data:
        return Disruption.DATA_LOSS
    new = arriving.desired if arriving is not None else None
    if new is not None and keeps_endpoint(situation, observed, new.spec):
        return Disruption.NONE
    return Disruption.OUTAGE


def _protected(situation: Situation, id_: ResourceId, service: str, revision: str, successor: str) -> Refusal:
    """Lifting protection takes one merge, deleting takes the next."""
    if successor:
        deployment = situation.deployments.get(successor)
        where = f"{deployment.position}, " if deployment is not None and deployment.position is not None else ""
        message = f"{id_} is protected, and moving it to {successor} would delete it"
        edit = f"{where}one merge: name: {service}, policy: {{protect: false}}; the next: movedFrom: {service}"
        way = Way("to move it in two merges", edit=edit)
    else:
        since = f" as of {revision[:7]}" if revision else ""
        message = f"{id_} is protected and Git no longer names it"
        edit = f"one merge: the document of service {service}{since} with policy: {{protect: false}}; the next: without"
        way = Way("to delete it in two merges", edit=edit)
    hint = "what is protected is never deleted by taking its document away"
    return Refusal("protected", message, hint, id=id_, approvable=False, ways=(way,))
