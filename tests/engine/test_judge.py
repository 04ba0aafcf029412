"""What an observation says of a step that is in progress."""

from __future__ import annotations

from reconciler.core.change import Action, Change, Step
from reconciler.core.resources import Completeness, Health, Mark, Observation, Observed, ResourceId, Staged
from reconciler.engine.judge import Verdict, judge

ID = ResourceId("east", "service", "a")
MARK = Mark("me", "a", "0" * 40, "new", str(ID))


def test_what_a_step_waits_for_is_told() -> None:
    """A staged version that finds no place, and a deletion that something holds up, say so while they last."""
    staged = Staged("new", Health.PROGRESSING, "no node takes it")
    serving = Observed(ID, {}, staged=staged)
    seen = Observation("east", Completeness.COMPLETE, {ID: serving})
    found = judge(Change(ID, Action.UPDATE, "", "a", mark=MARK), Step.STAGE, seen)
    assert (found.verdict, found.reason) == (Verdict.STILL, "no node takes it")
    going = Observed(ID, {}, health=Health.PROGRESSING, reason="being deleted, held by a finalizer", busy=True)
    seen = Observation("east", Completeness.COMPLETE, {ID: going})
    found = judge(Change(ID, Action.DELETE, "", "a"), Step.APPLY, seen)
    assert (found.verdict, found.reason) == (Verdict.STILL, "being deleted, held by a finalizer")
