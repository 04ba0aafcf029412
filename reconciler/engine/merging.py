"""What several services want is one resource: a model version, an environment, an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.core.changed import changed_keys, changed_places
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.policy import Policy
from reconciler.core.problems import Problem
from reconciler.core.resources import Desired, ResourceId

Group = tuple[Desired, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """Every resource of every target, each id once.

    Args:
        shared: Ids that are wanted more than once, be it by the very same object.
        alone, services: What it was merged of.
    """

    resources: Mapping[ResourceId, Desired] = field(default_factory=dict[ResourceId, Desired])
    problems: Sequence[Problem] = ()
    shared: frozenset[ResourceId] = frozenset()
    alone: Sequence[Desired] = ()
    services: Mapping[str, Group] = field(default_factory=dict[str, Group])


def merged(alone: Sequence[Desired], services: Mapping[str, Group], last: Merged) -> Merged:
    """One resource an id; shared ones belong to no service, and equal ones keep their identity between runs.

    Args:
        alone: What belongs to no service.
        services: The resources of each.
        last: The last result; where the same resources are wanted as then, only those that changed are looked at.
    """
    return _patched(alone, services, last) or _anew(alone, services, last.resources)


def _patched(alone: Sequence[Desired], services: Mapping[str, Group], last: Merged) -> Merged | None:
    """The last result with other resources of a few services; None if those are not the same ids, each their own."""
    changed = changed_keys(services, last.services)
    if changed is None or changed_places(alone, last.alone) != []:
        return None
    anew: dict[ResourceId, Desired] = {}
    for name in changed:
        after, before = services[name], last.services[name]
        if len(after) != len(before):
            return None
        for desired, old in zip(after, before, strict=True):
            if desired is old:
                continue
            if desired.id != old.id or desired.id in last.shared:
                return None
            if desired != last.resources[old.id]:
                anew[old.id] = desired
    resources = {**last.resources, **anew} if anew else last.resources
    return Merged(resources, last.problems, last.shared, alone, services)


def _anew(alone: Sequence[Desired], services: Mapping[str, Group], known: Mapping[ResourceId, Desired]) -> Merged:
    found: dict[ResourceId, Desired] = {}
    shared: set[ResourceId] = set()
    apart: dict[ResourceId, list[Desired]] = {}
    for group in (alone, *services.values()):
        for desired in group:
            first = found.get(desired.id)
            if first is None:
                found[desired.id] = desired
                continue
            shared.add(desired.id)
            if first is not desired:
                apart.setdefault(desired.id, [first]).append(desired)
    problems: list[Problem] = []
    for id_, wanted in apart.items():
        problems += _clash(id_, wanted)
        found[id_] = _together(wanted)
    for id_, one in found.items():
        before = known.get(id_)
        if before is not None and before is not one and before == one:
            found[id_] = before
    return Merged(found, problems, frozenset(shared), alone, services)


def _clash(id_: ResourceId, wanted: Sequence[Desired]) -> list[Problem]:
    if all(other.spec == wanted[0].spec for other in wanted[1:]):
        return []
    services = " and ".join(sorted({desired.service for desired in wanted}))
    message = f"{id_} is wanted in two different ways, by {services}"
    return [Problem("clash", message, hint="rename one of them", subject=str(id_))]


def _together(wanted: Sequence[Desired]) -> Desired:
    """The one resource for those that want it; each of them may warn of something."""
    first = wanted[0]
    policy = _shared_policy([desired.policy for desired in wanted])
    differ = any(d.service != first.service or d.warnings != first.warnings for d in wanted)
    if not differ and policy is first.policy:
        return first
    warnings = tuple(dict.fromkeys(w for desired in wanted for w in desired.warnings))
    return replace(first, service="", warnings=warnings, policy=policy)


def _shared_policy(policies: Sequence[Policy]) -> Policy:
    """The policy of what several services want: theirs if they agree, else none but that it may be taken over."""
    first = policies[0]
    if all(policy is first or policy == first for policy in policies):
        return first
    apart = {replace(policy, adopt=False) for policy in policies}
    return replace(apart.pop() if len(apart) == 1 else Policy(), adopt=any(policy.adopt for policy in policies))
