"""What of a plan one target's run may carry out by itself: its own changes, once what they need elsewhere is there.

The daemon runs every target, the built-in registries included, apart from the others, so that a slow build delays
nobody but those who need it. A look sees a target together with the registries; this cuts the target's portion out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from reconciler.core.change import Action, Change
from reconciler.core.dataclass import dataclass
from reconciler.core.resources import Baseline, Desired, ResourceId


@dataclass(frozen=True, slots=True)
class Portion:
    """The changes that may run now, and the targets that the others wait for."""

    changes: tuple[Change, ...]
    awaited: frozenset[str] = frozenset()


def portion(
    changes: Sequence[Change],
    targets: Collection[str],
    baselines: Mapping[ResourceId, Baseline],
    desired: Sequence[Desired] = (),
) -> Portion:
    """Cuts a portion out.

    Args:
        changes: All that may run, in plan order: what others depend on comes first.
        targets: Whose changes are wanted.
        baselines: Everything recorded: nothing is deleted at one target that is still in use at another.
        desired: Everything wanted anywhere: a service that moves serves at its new target before it goes at the old.
    """
    writing = {c.id for c in changes if c.writes and c.id.target not in targets and c.action is not Action.DELETE}
    users = _users(baselines)
    deleting = any(c.action is Action.DELETE for c in changes)
    arriving = _arriving(desired if deleting else (), baselines)
    waiting: set[ResourceId] = set()
    awaited: set[str] = set()
    own: list[Change] = []
    for change in changes:
        if change.id.target not in targets:
            continue
        if change.action is Action.DELETE:
            missing = [i for i in users.get(change.id, ()) if i.target not in targets]
            goes_on = change.successor or change.service
            missing += [i for i in arriving.get(goes_on, ()) if i.target not in targets]
        else:
            missing = [i for i in change.depends_on if i in writing or i in waiting]
        if missing and change.writes:
            waiting.add(change.id)
            awaited.update(i.target for i in missing if i.target not in targets)
        else:
            own.append(change)
    return Portion(tuple(own), frozenset(awaited))


def _users(baselines: Mapping[ResourceId, Baseline]) -> Mapping[ResourceId, list[ResourceId]]:
    users: dict[ResourceId, list[ResourceId]] = {}
    for id_, baseline in baselines.items():
        for needed in baseline.depends_on:
            users.setdefault(needed, []).append(id_)
    return users


def _arriving(desired: Sequence[Desired], baselines: Mapping[ResourceId, Baseline]) -> Mapping[str, list[ResourceId]]:
    """By service, what is wanted and was never made."""
    arriving: dict[str, list[ResourceId]] = {}
    for one in desired:
        baseline = baselines.get(one.id)
        if one.service and (baseline is None or baseline.sent is None):
            arriving.setdefault(one.service, []).append(one.id)
    return arriving


def without(
    targets: Collection[str], changes: Sequence[Change], baselines: Mapping[ResourceId, Baseline]
) -> list[Change]:
    """The changes that may run while nothing may be done at some targets: at others, and waiting for none of those.

    Args:
        changes: All of a plan, in its order.
        baselines: Everything recorded: what is still in use at such a target stays.
    """
    if not targets:
        return list(changes)
    stopped = [change for change in changes if change.id.target in targets]
    held = {change.id for change in stopped if change.writes}
    in_use = {needed for id_ in held if (b := baselines.get(id_)) is not None for needed in b.depends_on}
    arriving = {change.service for change in stopped if change.service and change.action is Action.CREATE}
    running: list[Change] = []
    for change in changes:
        if change.id.target in targets:
            continue
        if change.action is Action.DELETE:
            waits = change.id in in_use or change.service in arriving
        else:
            waits = not held.isdisjoint(change.depends_on)
        if waits:
            held.add(change.id)
        else:
            running.append(change)
    return running
