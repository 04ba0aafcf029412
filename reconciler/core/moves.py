"""Moves: a service that goes on under another name, and what looks like one.

Where a target can rename, a move is an update. Elsewhere names are identity: the new resource is made, tested and
serving before the old one is deleted, in one plan, and takes the endpoint over where the target can hand it on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from reconciler.core.change import Action, Change, Drift, FieldChange, Kept, Step
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.diff import equal
from reconciler.core.problems import Problem, Severity
from reconciler.core.resources import Desired, Health, Observed, ResourceId
from reconciler.core.rollout import mark_of, steps_of
from reconciler.core.situation import Situation
from reconciler.core.values import MISSING, Spec, digest, lookup, without_secrets
from reconciler.core.wanted import wanted

NAME_FIELD = "/mark/self"


@dataclass(frozen=True, slots=True)
class Moves:
    """Who moved where.

    Args:
        successors: Former name of a service -> its present one.
        old_of: Resource of a service that moved -> the one it was before, which is still there.
        new_of: The other way round.
    """

    successors: Mapping[str, str] = field(default_factory=dict[str, str])
    old_of: Mapping[ResourceId, ResourceId] = field(default_factory=dict[ResourceId, ResourceId])
    new_of: Mapping[ResourceId, ResourceId] = field(default_factory=dict[ResourceId, ResourceId])


def moves_of(situation: Situation, by_id: Mapping[ResourceId, Desired]) -> Moves:
    """The pairs of old and new resources that follow from what services moved from."""
    if not situation.moves:
        return Moves()
    successors = {old: new for new, old in situation.moves.items()}
    olds: dict[tuple[str, str, str], list[ResourceId]] = defaultdict(list)
    for id_, service in _there(situation):
        if service in successors and id_ not in by_id:
            olds[id_.target, id_.kind, successors[service]].append(id_)
    news: dict[tuple[str, str, str], list[ResourceId]] = defaultdict(list)
    for id_, desired in by_id.items():
        if desired.service in situation.moves:
            news[id_.target, id_.kind, desired.service].append(id_)
    old_of: dict[ResourceId, ResourceId] = {}
    for key, before in olds.items():
        old_of |= _paired(before, news.get(key, ()), situation.moves[key[2]], key[2])
    return Moves(successors, old_of, {old: new for new, old in old_of.items()})


def _there(situation: Situation) -> Iterator[tuple[ResourceId, str]]:
    """What stands at the targets and is ours, with its service."""
    for observation in situation.observations.values():
        for id_, observed in observation.resources.items():
            if observed.mark is not None and observed.owned_by(situation.installation):
                yield id_, observed.mark.service


def _paired(
    olds: Sequence[ResourceId], news: Sequence[ResourceId], before: str, after: str
) -> dict[ResourceId, ResourceId]:
    if len(olds) == 1 and len(news) == 1:
        return {news[0]: olds[0]}
    by_name = {id_.name: id_ for id_ in olds}
    names = {new: new.name.replace(after, before) for new in news}
    return {new: by_name[name] for new, name in names.items() if name in by_name}


def moved(
    situation: Situation,
    desired: Desired,
    observed: Observed | None,
    old: ResourceId,
    changes: Mapping[ResourceId, Change],
    needed: tuple[ResourceId, ...],
) -> tuple[Change, Drift | None]:
    """The change of a resource that is not there yet and stands under its old name: renamed, or made beside it."""
    before = situation.observations[old.target].resources[old]
    renamed = _renamed(situation, desired, before, changes, needed)
    if renamed is not None:
        return renamed
    change, drift = wanted(situation, desired, observed, situation.baselines.get(desired.id), changes, needed)
    if change.action is not Action.CREATE:
        return change, drift
    return replace(change, reason=f"moved from {old}", moved_from=old, drift_only=False), None


def _renamed(
    situation: Situation,
    desired: Desired,
    before: Observed,
    changes: Mapping[ResourceId, Change],
    needed: tuple[ResourceId, ...],
) -> tuple[Change, Drift | None] | None:
    """The update that renames, where the target can and what else changes needs no new resource."""
    capabilities = situation.capabilities[desired.id.target]
    if desired.id.kind not in capabilities.renames or before.health is Health.MISSING:
        return None
    change, drift = wanted(situation, desired, before, situation.baselines.get(before.id), changes, needed)
    if change.action is Action.REPLACE or Step.STAGE in change.steps or Step.PROMOTE in change.steps:
        return None
    fields = (FieldChange(NAME_FIELD, str(before.id), str(desired.id)), *change.fields)
    steps = (Step.APPLY,) if not change.fields else steps_of(desired, capabilities, before, small=False)
    update = replace(
        change,
        action=Action.UPDATE,
        reason=f"moved from {before.id}",
        fields=fields,
        desired=change.desired or desired,
        observed=before,
        mark=mark_of(situation, desired),
        depends_on=needed,
        steps=steps,
        drift_only=False,
        moved_from=before.id,
    )
    return update, replace(drift, id=desired.id) if drift is not None else None


def obstacle(situation: Situation, change: Change) -> tuple[str, str]:
    """Why what a resource moves from has to stay where it is, and the code of that; two empty texts if it may go."""
    old = change.moved_from
    if old is None:
        return "", ""
    seen = situation.observations[old.target].resources[old]
    service = seen.mark.service if seen.mark else ""
    if service in situation.suspended:
        return f"service {service} is suspended; `reconciler resume {service}` lets it go on", ""
    if seen.busy:
        return "an earlier operation on it is still in progress", "busy"
    if change.action is Action.UPDATE:
        return "", ""
    if is_protected(situation, old):
        return "it is protected", ""
    return ("", "") if situation.loaded_whole else ("nothing goes while some manifests have errors", "")


def is_protected(situation: Situation, id_: ResourceId) -> bool:
    """Whether our record or the resource's own mark has it protected, whatever Git says by now."""
    baseline = situation.baselines.get(id_)
    observation = situation.observations.get(id_.target)
    seen = observation.resources.get(id_) if observation else None
    return (baseline is not None and baseline.protect) or (
        seen is not None and seen.mark is not None and seen.mark.protect
    )


def keeps_endpoint(situation: Situation, old: Observed, new: Spec) -> bool:
    """Whether a resource that is made under another name takes the old one's address over."""
    named = (pattern.rpartition(":") for pattern in situation.capabilities[old.id.target].hands_over)
    address = [pointer for kind, _, pointer in named if kind in ("", old.id.kind)]
    pairs = [(lookup(old.spec, pointer), lookup(new, pointer)) for pointer in address]
    return bool(pairs) and all(after is MISSING or after is None or equal(before, after) for before, after in pairs)


# What looks like a move


@dataclass(frozen=True, slots=True)
class _Gone:
    id: ResourceId
    name: str


def pointed_out(
    situation: Situation, changes: Iterable[Change], removals: Iterable[Change], kept: Iterable[Kept]
) -> tuple[dict[ResourceId, Change], list[Problem]]:
    """Each creation that looks like the other half of a removal, saying so, and a warning with the line to add."""
    created = [c for c in changes if c.action is Action.CREATE and c.moved_from is None and c.desired is not None]
    gone = _by_content(situation, removals, kept) if created else {}
    if not gone:
        return {}, []
    told: dict[ResourceId, Change] = {}
    warnings: list[Problem] = []
    for change in created:
        assert change.desired is not None
        found = gone.get((change.id.target, change.id.kind, _content(situation, change.id, change.desired.spec)))
        if found is not None:
            reason = f"{change.reason}; same content as {found.id}, which goes: renamed?"
            told[change.id] = replace(change, reason=reason)
            warnings.append(_warning(situation, change, found))
    return told, warnings


def _content(situation: Situation, id_: ResourceId, spec: Spec) -> str:
    """A digest of what makes two resources the same under different names; generated keys differ by name."""
    pointers = situation.capabilities[id_.target].content
    if not pointers:
        return digest(without_secrets(spec))
    values = [lookup(spec, pointer) for pointer in pointers]
    return "" if MISSING in values else digest(values)


def _by_content(
    situation: Situation, removals: Iterable[Change], kept: Iterable[Kept]
) -> dict[tuple[str, str, str], _Gone]:
    ids = [(c.id, c.service) for c in removals if c.action is Action.DELETE and not c.successor]
    ids += [(k.id, "") for k in kept if k.code == "retained"]
    found: dict[tuple[str, str, str], _Gone] = {}
    for id_, service in ids:
        baseline = situation.baselines.get(id_)
        content = _content(situation, id_, baseline.sent) if baseline is not None and baseline.sent is not None else ""
        if content:
            found.setdefault((id_.target, id_.kind, content), _Gone(id_, service or id_.name.rpartition(":")[0]))
    return found


def _warning(situation: Situation, change: Change, gone: _Gone) -> Problem:
    deployment = situation.deployments.get(change.service)
    subject = f"Service/{change.service}" if change.service else f"Model/{change.id.name.rpartition(':')[0]}"
    return Problem(
        "looks-renamed",
        f"{change.id} has the content of {gone.id}, which goes",
        deployment.position if deployment is not None else None,
        f"if it was renamed, add to its metadata: `movedFrom: {gone.name}`",
        subject,
        Severity.WARNING,
    )
