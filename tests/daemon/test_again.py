"""When a target is looked at again, from how its run ended."""

from __future__ import annotations

from reconciler.core.change import Action
from reconciler.core.resources import Completeness, Health, Observation, Observed, ResourceId
from reconciler.engine.daemon.again import Again, look_again, poll_seconds
from reconciler.engine.lifecycle import State
from reconciler.engine.progress import Result

ID = ResourceId("east", "service", "a")
CALM = Observation("east", Completeness.COMPLETE, {ID: Observed(ID, {})})
STARTING = Observation("east", Completeness.COMPLETE, {ID: Observed(ID, {}, health=Health.PROGRESSING)})


def test_a_calm_target_is_left_to_events_and_the_full_look():
    """Nothing is polled where nothing goes on."""
    assert look_again(CALM, (), (), now=100.0) == Again()


def test_a_target_out_of_reach_opens_its_breaker():
    """An unavailable observation is not polled, it backs off."""
    unavailable = Observation("east", Completeness.UNAVAILABLE, missing="down")
    assert look_again(unavailable, (), (), now=100.0).unreachable


def test_what_was_changed_is_verified_soon_but_nobody_is_raced():
    """Each change in a row doubles the pause before the next look, for there may be somebody who undoes it."""
    done = [Result(ID, Action.UPDATE, State.DONE)]
    first = look_again(CALM, done, (), now=100.0)
    tenth = look_again(CALM, done, (), now=100.0, streak=10)
    assert (first.cause, first.after) == ("verifying", 0.25)
    assert tenth.after == 60.0


def test_work_in_progress_is_polled_more_slowly_the_longer_it_takes():
    """Polls grow from half a second to ten."""
    pauses = [look_again(STARTING, (), (), now=100.0, polls=n).after for n in range(12)]
    assert pauses[0] == 0.5
    assert pauses == sorted(pauses)
    assert pauses[-1] == poll_seconds(99) == 10.0


def test_the_earliest_hold_ends_the_waiting():
    """A failed change is tried again when its time has come, not at the next full look; past holds wake nobody."""
    assert look_again(CALM, (), [90.0, 130.0, 110.0], now=100.0).after == 10.0


def test_the_earliest_reason_counts():
    """Several reasons to look again are one look."""
    again = look_again(STARTING, (), [100.1], now=100.0, polls=8)
    assert again.cause == "a failed change may be tried again"
