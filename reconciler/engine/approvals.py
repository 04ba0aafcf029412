"""What is written down of approvals: that one was given, that it is used, and that it is used up.

The demand of a target's policy is recorded too, as it was last applied: a commit that takes it back is held to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.approval import DAY_SECONDS, Approval, approval_of
from reconciler.core.change import Plan
from reconciler.core.dataclass import replace
from reconciler.core.errors import UsageError
from reconciler.core.plan import plan
from reconciler.core.resources import Completeness, ResourceId
from reconciler.engine.lifecycle import State
from reconciler.engine.outcome import Look
from reconciler.engine.progress import Result
from reconciler.engine.store import Attempt, Store

DEMAND = "approval/"


def approve(store: Store, digest: str, by: str, now: float) -> None:
    """Notes that somebody approved something, where it counts and in the history."""
    store.put_approval(Approval(digest, by, now))
    store.record(Attempt(now, "", "approved", {"digest": digest, "by": by}))


def revoke(store: Store, digest: str, by: str, now: float) -> None:
    """Takes an approval back; what is not done yet under it is refused again.

    Raises:
        UsageError: There is none.
    """
    if digest not in store.approvals():
        raise UsageError(f"nothing is approved under {digest}", hint="it may be used up; `reconciler history` says so")
    store.drop_approval(digest)
    store.record(Attempt(now, "", "revoked", {"digest": digest, "by": by}))


def live(store: Store, now: float, days: float) -> tuple[Approval, ...]:
    """The approvals that have not lapsed, in the order in which they were given."""
    found = (a for a in store.approvals().values() if now - a.at <= days * DAY_SECONDS)
    return tuple(sorted(found, key=lambda a: (a.at, a.digest)))


def as_shown(look: Look) -> Plan:
    """The plan that `reconciler plan` shows, whose digests people approve: what failed lately waits for nothing."""
    return plan(replace(look.situation, holds={})) if look.situation.holds else look.plan


def begin(store: Store, made: Plan, approvals: tuple[Approval, ...], saved: str = "") -> tuple[Approval, ...]:
    """Writes down what approvals are used for, before anything is done under them; the approvals as they are then.

    Args:
        saved: The digest of the saved plan that `made` is what is left of; empty if it is none.
    """
    used = [approval_of(made, refusal, approvals) for refusal in made.refusals]
    if made.refusals and saved:
        used += [approval for approval in approvals if approval.digest == saved]
    begun = {a.digest: a.begun(made, reviewed=a.digest == saved) for a in used if a is not None and a.work is None}
    for approval in begun.values():
        store.put_approval(approval)
    return tuple(begun.get(approval.digest, approval) for approval in approvals)


def finish(store: Store, look: Look, results: Mapping[ResourceId, Result], own: frozenset[str] | None) -> None:
    """Takes off approvals what was done under them, or needs no doing any more; with the last of it an approval goes.

    Args:
        look: The last of the run.
        own: The targets whose changes this run carried out; None for all.
    """
    for approval in store.approvals().values():
        if approval.work is None:
            continue
        done = {id_ for id_ in approval.work if _settled(id_, look, results, own)}
        if not done:
            continue
        left = approval.without(done)
        if left.work:
            store.put_approval(left)
        else:
            store.drop_approval(approval.digest)


def _settled(id_: ResourceId, look: Look, results: Mapping[ResourceId, Result], own: frozenset[str] | None) -> bool:
    if id_ in results:
        return results[id_].state is State.DONE
    if own is not None and id_.target not in own:
        return False
    made = look.plan
    waiting = {change.id for change in made.effective()} | {b.id for b in made.blocked} | {k.id for k in made.kept}
    return made.targets.get(id_.target) is Completeness.COMPLETE and id_ not in waiting


def demanded(store: Store, targets: Mapping[str, object]) -> frozenset[str]:
    """Those targets whose policy asked for approvals when they were last applied to."""
    return frozenset(name for name in targets if store.fact(DEMAND + name))


def remember_demands(
    store: Store, look: Look, results: Mapping[ResourceId, Result], own: frozenset[str] | None
) -> None:
    """Records what the policies of this revision ask for.

    A demand counts at once. One that was taken back counts until the target is as this revision wants it.
    """
    for target in look.situation.observations:
        if own is not None and target not in own:
            continue
        if target in look.state.approval:
            store.put_fact(DEMAND + target, True)
        elif store.fact(DEMAND + target) and _as_wanted(target, look, results):
            store.put_fact(DEMAND + target, False)


def _as_wanted(target: str, look: Look, results: Mapping[ResourceId, Result]) -> bool:
    made = look.plan
    if not look.state.whole or target not in look.state.targets:
        return False
    if made.targets.get(target) is not Completeness.COMPLETE or any(b.id.target == target for b in made.blocked):
        return False
    left = (change.id for change in made.effective() if change.id.target == target)
    return all(id_ in results and results[id_].state is State.DONE for id_ in left)
