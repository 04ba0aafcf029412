"""Approvals: what somebody let through, where somebody has to, and how far it has been carried out.

An approval is of a digest: a plan's, or that of what is done at one target. From the moment it is used it is of a piece
of work, a set of resources with what Git wants of each, so that an interrupted run goes on under it; with the last of
them it is used up, and the same plan has to be approved anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from reconciler.core.change import Plan, Refusal
from reconciler.core.dataclass import dataclass, replace
from reconciler.core.resources import ResourceId

DAY_SECONDS = 86_400.0
BY_SETTINGS = "the operator's settings ask for it"
BY_POLICY = "its policy asks for it"
BY_RECORD = "its policy asked for it when it was last applied to, and taking that back takes a merge of its own"


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval.

    Args:
        by: Who gave it.
        at: When, Unix seconds.
        work: What is left to do under it: each resource with the digest of what Git wants of it (empty for a deletion).
            None until it is used.
    """

    digest: str
    by: str = ""
    at: float = 0.0
    work: Mapping[ResourceId, str] | None = None

    def covers(self, plan: Plan, refusal: Refusal) -> bool:
        """Whether it lets through what a refusal stops: just that was approved, or that is what is left of it."""
        if not refusal.approvable:
            return False
        if self.work is None:
            return self.digest in (plan.digest, plan.digest_for(refusal))
        stopped = [change for change in plan.effective() if change.id.target in refusal.targets]
        return bool(stopped) and all(self.work.get(change.id) == change.wanted for change in stopped)

    def begun(self, plan: Plan, *, reviewed: bool = False) -> Approval:
        """The approval with its work, as it is used for the first time.

        Args:
            reviewed: The plan is what is left of the one that was approved, as a saved plan is carried out.
        """
        targets = {t for r in plan.refusals if self.covers(plan, r) or (reviewed and r.approvable) for t in r.targets}
        work = {change.id: change.wanted for change in plan.effective() if change.id.target in targets}
        return replace(self, work=work)

    def without(self, ids: Collection[ResourceId]) -> Approval:
        """What is left of it."""
        return replace(self, work={id_: wanted for id_, wanted in (self.work or {}).items() if id_ not in ids})


def approval_of(plan: Plan, refusal: Refusal, approvals: Iterable[Approval]) -> Approval | None:
    """The first approval that lifts a refusal."""
    return next((approval for approval in approvals if approval.covers(plan, refusal)), None)


def with_approvals(plan: Plan, approvals: Sequence[Approval]) -> Plan:
    """The plan, saying of each refusal who has approved what it stops."""
    found = {refusal: approval_of(plan, refusal, approvals) for refusal in plan.refusals}
    if not any(found.values()):
        return plan
    return replace(plan, refusals=tuple(replace(r, approved=a.by if a else "") for r, a in found.items()))


def demands(
    targets: Iterable[str], policies: Collection[str], recorded: Collection[str], patterns: Sequence[str]
) -> dict[str, str]:
    """The targets at which nothing is done without an approval, each with who asks for one.

    Args:
        policies: Targets whose policy in this revision does.
        recorded: Targets whose policy did when they were last applied to.
        patterns: The operator's: names, with `*` for any text. The built-in registries are meant by name alone.
    """
    found: dict[str, str] = {}
    for target in targets:
        if any(_matches(target, pattern) for pattern in patterns):
            found[target] = BY_SETTINGS
        elif target in policies:
            found[target] = BY_POLICY
        elif target in recorded:
            found[target] = BY_RECORD
    return found


def _matches(target: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(target, pattern) and (not target.startswith("registry/") or pattern.startswith("registry/"))
