"""Exit codes, frozen; docs/messages.md explains each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.core.change import Plan

DONE = 0
INTERNAL = 1
PENDING = 2
DRIFTED = 3
PENDING_AND_DRIFTED = 4
USAGE = 10
INVALID = 11
TARGET = 12
REFUSED = 13
STALE = 14
TIMED_OUT = 15
UNHEALTHY = 16
INTERRUPTED = 130
# As if SIGPIPE (13) had ended it: whoever read the output went away.
CLOSED_PIPE = 141


def detailed(*, pending: bool, drifted: bool) -> int:
    """The exit code that `--detailed-exitcode` gives for a plan or a drift report."""
    if pending:
        return PENDING_AND_DRIFTED if drifted else PENDING
    return DRIFTED if drifted else DONE


def of_plan(plan: Plan) -> int:
    """The detailed exit code of a plan: what is blocked or refused counts as what it is about."""
    from reconciler.core.sync import Sync, unsettled

    sync = Sync.together(unsettled(plan).values())
    healing = any(change.drift_only and change.writes for change in plan.effective())
    return detailed(pending=sync.pending, drifted=sync.drifted or healing)
