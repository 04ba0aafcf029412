"""The two questions about a resource, and so about a service: does Git want it changed, and did reality move?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from reconciler.core.change import Plan
from reconciler.core.resources import ResourceId


class Sync(StrEnum):
    """Both answers in one word.

    Kept: Git does not name the service (any more, or its manifest cannot be read), and it was not deleted.
    """

    IN_SYNC = "in sync"
    PENDING = "pending"
    DRIFTED = "drifted"
    BOTH = "pending and drifted"
    KEPT = "kept"

    @staticmethod
    def of(*, pending: bool, drifted: bool) -> Sync:
        """The word for a pair of answers."""
        if pending:
            return Sync.BOTH if drifted else Sync.PENDING
        return Sync.DRIFTED if drifted else Sync.IN_SYNC

    @property
    def pending(self) -> bool:
        """Git wants something changed."""
        return self in (Sync.PENDING, Sync.BOTH)

    @property
    def drifted(self) -> bool:
        """Reality moved."""
        return self in (Sync.DRIFTED, Sync.BOTH)

    @staticmethod
    def together(parts: Iterable[Sync]) -> Sync:
        """Of what consists of several: one that is pending makes it pending, one that drifted makes it drifted."""
        all_ = [*parts]
        return Sync.of(pending=any(one.pending for one in all_), drifted=any(one.drifted for one in all_))


def unsettled(plan: Plan) -> Mapping[ResourceId, Sync]:
    """Every resource that is not in sync; what is blocked or refused counts as what it was to be changed for."""
    held = {blocked.id for blocked in plan.blocked} | {r.id for r in plan.refusals if r.id is not None}
    # Of a refusal without a change (protected and no longer named) it is Git that wants it.
    pending = held - {change.id for change in plan.changes if change.id in held and change.drift_only}
    pending |= {change.id for change in plan.effective() if not change.drift_only}
    drifted = {drift.id for drift in plan.drift}
    return {id_: Sync.of(pending=id_ in pending, drifted=id_ in drifted) for id_ in sorted(pending | drifted)}
