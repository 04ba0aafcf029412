"""What an outcome means to whoever called."""

from __future__ import annotations

from reconciler.core.change import Blocked, Plan
from reconciler.core.contents import Revision
from reconciler.core.report import Report
from reconciler.core.resources import ResourceId
from reconciler.engine.outcome import Outcome
from reconciler.engine.summary import exit_code_of

ID = ResourceId("registry/environments", "environment", "py-1")


def blocked(reason: str, code: str = "") -> Outcome:
    """A run that could not touch one resource."""
    plan = Plan(Revision("c" * 40, "main", ""), blocked=(Blocked(ID, reason, code),))
    return Outcome(plan, Report("rc-1", "", (), {}))


def test_work_that_an_earlier_call_left_under_way_is_not_done() -> None:
    """Whoever waits for the end of an apply must not read 0 while an operation of a killed one goes on."""
    assert exit_code_of(blocked("an earlier operation on it is still in progress", "busy")) == 15


def test_what_is_held_back_on_purpose_is_no_failure() -> None:
    """A suspended service is left alone: 0."""
    assert exit_code_of(blocked("suspended; `reconciler resume` lets it go on")) == 0
