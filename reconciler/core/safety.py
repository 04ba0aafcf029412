"""The rails: plans that would take away too much are refused, with the numbers and the way on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from reconciler.core.approval import Approval, approval_of
from reconciler.core.change import Action, Change, Plan, Refusal, Step, Way
from reconciler.core.dataclass import replace
from reconciler.core.resources import ResourceId
from reconciler.core.situation import Situation

APPROVE = Way("to let exactly this through, here and in the daemon", command="reconciler approve DIGEST")


def refusals_of(situation: Situation, doing: Iterable[Change], everything: Sequence[Change]) -> list[Refusal]:
    """What the rails say of a set of changes, target by target.

    Args:
        doing: Those that do something; no rail has anything against what stays as it is.
        everything: With those that do nothing.
    """
    by_target: dict[str, list[Change]] = defaultdict(list)
    for change in doing:
        by_target[change.id.target].append(change)
    found: list[Refusal] = []
    for target, of_target in sorted(by_target.items()):
        found += _too_much(situation, target, of_target)
        found += _emptied(situation, target, of_target, everything)
        found += _for_good(situation, target, of_target)
        found += _from_elsewhere(situation, target, of_target)
        found += _unapproved(situation, target, of_target)
    return found


def _there(situation: Situation, target: str) -> int:
    observation = situation.observations.get(target)
    if observation is None:
        return 0
    return sum(o.owned_by(situation.installation) for o in observation.resources.values())


def _staying(situation: Situation, target: str, lost: Collection[ResourceId]) -> set[str]:
    """Services of which something of ours stays there."""
    observation = situation.observations.get(target)
    there = observation.resources.values() if observation else ()
    return {
        o.mark.service
        for o in there
        if o.mark is not None and o.mark.service and o.owned_by(situation.installation) and o.id not in lost
    }


def _retained(situation: Situation, change: Change) -> bool:
    return change.id.kind in situation.capabilities[change.id.target].retained


def _too_much(situation: Situation, target: str, changes: Iterable[Change]) -> list[Refusal]:
    listed = list(changes)
    lost = [c for c in listed if _takes_away(c) and not _retained(situation, c)]
    if any(c.successor for c in lost):
        arriving = [c for c in listed if c.writes and c.action is not Action.DELETE]
        untested = {c.service for c in arriving if Step.TEST not in c.steps}
        lost = [c for c in lost if not c.successor or c.successor in untested]
    if not lost:
        return []
    total = _there(situation, target)
    rails = situation.rails
    if total < rails.min_resources or len(lost) * 100 <= rails.max_delete_percent * total:
        return []
    deletes = sum(c.action is Action.DELETE and not c.successor for c in lost)
    percent = len(lost) * 100 / total
    message = (
        f"target {target}: {deletes} deletes and {len(lost) - deletes} replaces without a staged and tested successor "
        f"are {percent:.1f} % of its {total} resources; the limit is {rails.max_delete_percent:g} %"
    )
    flag = Way("or, for one call, to raise the limit", command=f"reconciler apply --max-delete {math.ceil(percent)}")
    hint = "check the list of what would go"
    return [Refusal("too-many-deletes", message, hint, (target,), ways=(APPROVE, flag), percent=percent)]


def _takes_away(change: Change) -> bool:
    """Whether carrying it out takes something away before another one has taken its place and passed its tests."""
    if change.action is Action.REPLACE:
        return not (Step.PROMOTE in change.steps and Step.TEST in change.steps)
    return change.action is Action.DELETE


def _emptied(
    situation: Situation, target: str, changes: Sequence[Change], everything: Sequence[Change]
) -> list[Refusal]:
    gone = {c.service for c in changes if c.action is Action.DELETE and c.service and not c.successor}
    if len(gone) < 2 or gone <= situation.removed:
        return []
    lost = {c.id for c in changes if c.action in (Action.DELETE, Action.FORGET)}
    if any(c.service and c.id.target == target and c.id not in lost for c in everything):
        return []
    if _staying(situation, target, lost):
        return []
    message = (
        f"target {target}: all of its {len(gone)} services would be deleted, though no commit took their documents out "
        "one by one"
    )
    flag = Way("or, for one call", command="reconciler apply --allow-empty")
    hint = "check that path and ref are right"
    return [Refusal("empties-target", message, hint, (target,), ways=(APPROVE, flag))]


def _for_good(situation: Situation, target: str, changes: Iterable[Change]) -> list[Refusal]:
    """What others live on goes only where somebody has said yes to just that."""
    irreplaceable = situation.capabilities[target].irreplaceable
    gone = [c for c in changes if c.action is Action.DELETE and c.id.kind in irreplaceable]
    if not gone:
        return []
    listed = ", ".join(f"{c.id.kind} {c.id.name}" for c in gone)
    message = f"target {target}: {listed} would be deleted, with everything that is on it, ours or not"
    hint = "see what else is there; to keep it, put its document back"
    return [Refusal("deletes-for-good", message, hint, (target,), ways=(APPROVE,))]


def _from_elsewhere(situation: Situation, target: str, changes: Iterable[Change]) -> list[Refusal]:
    """Two repos on one state directory would each delete what the other one made, two environments change it too."""
    before = situation.elsewhere.get(target)
    if before is None:
        return []
    if before.environment != situation.environment:
        return _other_environment(situation, target, changes, before.environment)
    deletes = [c for c in changes if c.action is Action.DELETE and not _retained(situation, c)]
    if not deletes:
        return []
    message = (
        f"target {target}: {len(deletes)} of what was applied from {before.repo} would be deleted, since this repo "
        "does not name it"
    )
    hint = "give each repo a state directory of its own (RECONCILER_STATE_DIR), unless this one takes the other's place"
    return [Refusal("other-repo", message, hint, (target,), ways=(APPROVE,))]


def _other_environment(situation: Situation, target: str, changes: Iterable[Change], before: str) -> list[Refusal]:
    touched = [
        c for c in changes if c.action in (Action.UPDATE, Action.REPLACE, Action.DELETE) and not _retained(situation, c)
    ]
    if not touched:
        return []
    deletes = sum(c.action is Action.DELETE for c in touched)
    theirs = f"in environment {before}" if before else "without an environment"
    ours = f"environment {situation.environment}" if situation.environment else "no environment"
    message = (
        f"target {target}: {len(touched) - deletes} of what was applied {theirs} would be changed and {deletes} "
        f"deleted by a plan for {ours}"
    )
    hint = "give each environment a state directory of its own (RECONCILER_STATE_DIR), unless this one takes its place"
    return [Refusal("other-environment", message, hint, (target,), ways=(APPROVE,))]


def _unapproved(situation: Situation, target: str, changes: Iterable[Change]) -> list[Refusal]:
    """Where somebody has to say yes, nothing is done before; what only our record needs is no deed."""
    who = situation.approval.get(target)
    doing = sum(change.action is not Action.NOOP and change.writes for change in changes)
    if who is None or not doing:
        return []
    what = "a change waits" if doing == 1 else f"{doing:,} changes wait"
    message = f"target {target}: {what} for somebody's approval: {who}"
    return [Refusal("approval-required", message, "look at the plan first", (target,), ways=(APPROVE,))]


def with_digest(plan: Plan) -> Plan:
    """The plan with the digests to approve in the commands that its refusals name."""
    if not plan.refusals:
        return plan

    def filled(refusal: Refusal) -> Refusal:
        digest = plan.digest_for(refusal)
        ways = tuple(replace(way, command=way.command.replace("DIGEST", digest)) for way in refusal.ways)
        return replace(refusal, ways=ways)

    return replace(plan, refusals=tuple(map(filled, plan.refusals)))


def standing(
    plan: Plan,
    approvals: Iterable[Approval],
    allowed: frozenset[str] = frozenset(),
    max_delete_percent: float | None = None,
) -> list[Refusal]:
    """The refusals that still stand.

    Args:
        approvals: Those that have not lapsed.
        allowed: Codes that flags of this very call lift (`empties-target`).
        max_delete_percent: Up to where a flag of this very call lifts `too-many-deletes`.
    """
    given = tuple(approvals)

    def lifted(refusal: Refusal) -> bool:
        if approval_of(plan, refusal, given) is not None:
            return True
        if refusal.code == "too-many-deletes" and max_delete_percent is not None:
            return refusal.percent <= max_delete_percent
        return refusal.code in allowed

    return [r for r in plan.refusals if not (r.approvable and lifted(r))]
