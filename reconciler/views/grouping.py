"""What the plan views have in common: changes by service, names for people, counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from reconciler.core.change import Action, Blocked, Change, Disruption, Plan, Step
from reconciler.core.dataclass import dataclass
from reconciler.core.resources import ResourceId
from reconciler.core.rollout import share_at
from reconciler.views.values import plural

SHARED = "shared"
_VERBS = {
    Action.CREATE: "create",
    Action.UPDATE: "update",
    Action.REPLACE: "replace",
    Action.DELETE: "delete",
    Action.ADOPT: "adopt",
    Action.FORGET: "forget",
}
SYMBOLS = ", ".join(f"{action.glyph} {verb}" for action, verb in _VERBS.items())


@dataclass(frozen=True, slots=True)
class Group:
    """The effective changes of one service, in the plan's order; an empty service is what services share."""

    service: str
    changes: tuple[Change, ...]

    @property
    def title(self) -> str:
        """The service's name, and the one it had."""
        before = sorted({change.service for change in self.changes if change.successor})
        return f"{self.service} (was {', '.join(before)})" if before else self.service or SHARED


def groups(plan: Plan) -> list[Group]:
    """Effective changes by service: the shared ones first, then the services by name."""
    found: dict[str, list[Change]] = defaultdict(list)
    for change in plan.effective():
        found[change.successor or change.service].append(change)
    return [Group(service, tuple(found[service])) for service in sorted(found)]


def by_reason(blocked: Sequence[Blocked]) -> Mapping[str, Sequence[ResourceId]]:
    """What is blocked by why it is: a target that cannot be seen stops all that is on it."""
    found: dict[str, list[ResourceId]] = defaultdict(list)
    for one in blocked:
        found[one.reason].append(one.id)
    return found


def name_of(id_: ResourceId) -> str:
    """The name people know: with its target, except in the built-in registries."""
    return id_.name if id_.target.startswith("registry/") else f"{id_.target}/{id_.name}"


def told(id_: ResourceId) -> str:
    """The same where no kind stands beside it: objects of one service in a namespace differ in their kinds alone."""
    name = name_of(id_)
    return f"{id_.kind} {name}" if ":" in id_.name and not id_.target.startswith("registry/") else name


def counts(plan: Plan) -> dict[Action, int]:
    """How many changes of each kind; what is blocked or refused is no resource that is as it should be."""
    stopped = {one.id for one in (*plan.blocked, *plan.refusals)}
    found = dict.fromkeys(Action, 0)
    for change in plan.changes:
        if change.action is not Action.NOOP or change.id not in stopped:
            found[change.action] += 1
    return found


@dataclass(frozen=True, slots=True)
class Moved:
    """How many resources move: made under a new name, deleted under the old one, renamed where they stand."""

    made: int = 0
    deleted: int = 0
    renamed: int = 0


def moved(plan: Plan) -> Moved:
    """What of a plan's changes are moves."""
    moves = [change for change in plan.changes if change.moved_from is not None]
    made = {change.id for change in moves if change.action is Action.CREATE}
    deleted = sum(change.moved_to in made for change in plan.changes if change.moved_to is not None)
    return Moved(len(made), deleted, sum(change.action is Action.UPDATE for change in moves))


def summary_line(plan: Plan) -> str:
    """The one line that says it all: `Plan: 1 to create, 2 to update; 7 unchanged.`"""
    number = counts(plan)
    moves = moved(plan)
    told = dict(number)
    told[Action.CREATE] -= moves.made
    told[Action.DELETE] -= moves.deleted
    told[Action.UPDATE] -= moves.renamed
    parts = [f"{moves.made + moves.renamed:,} to move"] if moves.made or moves.renamed else []
    parts += [f"{told[action]:,} to {verb}" for action, verb in _VERBS.items() if told[action]]
    asides: list[str] = []
    if number[Action.NOOP] and parts:
        asides.append(f"{number[Action.NOOP]:,} unchanged")
    if plan.drift:
        asides.append(f"{len(plan.drift):,} drifted")
    if plan.blocked:
        asides.append(f"{len(plan.blocked):,} blocked")
    standing = [refusal for refusal in plan.refusals if not refusal.approved]
    waiting = sum(refusal.waits for refusal in standing)
    if waiting:
        asides.append(f"{plural(waiting, 'target')} waiting for approval")
    if len(standing) > waiting:
        asides.append(f"{len(standing) - waiting:,} refused")
    if plan.kept:
        asides.append(f"{len(plan.kept):,} kept")
    if parts:
        head = f"Plan: {', '.join(parts)}"
    elif plan.blocked or plan.refusals:
        head = "Plan: nothing that can be done now"
    elif number[Action.NOOP]:
        head = f"Nothing to do: {plural(number[Action.NOOP], 'resource')} in sync"
    else:
        head = "Nothing to do: there are no resources"
    return "; ".join([head, *asides]) + "."


def duration(seconds: float) -> str:
    """A long time in words: `about 12 min`, `about 2 h 30 min`."""
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"about {minutes} min"
    rest = f" {minutes % 60} min" if minutes % 60 else ""
    return f"about {minutes // 60} h{rest}"


def effect(change: Change) -> str:
    """What the change does to those who use the resource, and by which way."""
    if change.action is Action.FORGET or (change.action is Action.CREATE and change.moved_from is None):
        return ""
    if change.action is Action.ADOPT and not change.writes:
        return ""
    if Step.PROMOTE in change.steps:
        shares = [share_at(change, index) for index in range(len(change.steps))]
        steps = zip(change.steps, shares, strict=True)
        return " → ".join(f"{share} %" if share else step.value for step, share in steps)
    if change.action is Action.DELETE and change.disruption is Disruption.NONE:
        return ""
    return "no disruption" if change.disruption is Disruption.NONE else change.disruption.value
