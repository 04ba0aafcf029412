"""The queue alone: times are given, nothing waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.daemon.queue import SOURCE, Pace, Queue

PACE = Pace(burst=3, per_second=1.0, first_pause=1.0, longest_pause=8.0)


def test_many_wakes_are_one_run_with_each_cause_once():
    """A storm of wakes costs one run, which knows why and since when."""
    queue = Queue()
    for at in (1.0, 2.0, 3.0):
        queue.wake("east", "event", at)
    queue.wake("east", "requested", 4.0)

    (work,) = queue.take(5.0, 9)

    assert (work.key, work.causes, work.woken_at) == ("east", ("event", "requested"), 1.0)
    assert queue.take(6.0, 9) == []


def test_a_wake_during_a_run_is_one_more_run_after_it():
    """Nothing that happens while a target is reconciled is lost, and no two runs of it overlap."""
    queue = Queue()
    queue.wake("east", "event", 1.0)
    queue.take(1.0, 9)
    queue.wake("east", "another event", 2.0)

    assert queue.take(2.0, 9) == []
    queue.done("east", 3.0)
    assert [w.causes for w in queue.take(3.0, 9)] == [("another event",)]


def test_room_is_for_the_longest_overdue_and_the_source_needs_none():
    """A full pool delays targets, never the reading of a new commit."""
    queue = Queue()
    queue.wake("late", "event", 2.0)
    queue.wake("early", "event", 1.0)
    queue.wake(SOURCE, "file watch", 3.0)

    assert [w.key for w in queue.take(3.0, 1)] == ["early", SOURCE]


def test_a_target_that_cannot_be_reached_is_asked_less_and_less_often():
    """The breaker's pauses double up to a limit, hold events off, and end with the first success."""
    queue = Queue(PACE)
    pauses = []
    now = 0.0
    for _ in range(5):
        queue.wake("east", "event", now, urgent=True)
        queue.take(now, 9)
        pauses.append(queue.done("east", now, failed=True))
    queue.wake("east", "event", now)

    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert queue.take(now + 7.9, 9) == []
    assert [w.key for w in queue.take(now + 8.0, 9)] == ["east"]
    assert queue.done("east", now + 8.0) == 0.0


def test_an_open_breaker_delays_no_other_target():
    """Each key has a breaker of its own."""
    queue = Queue(PACE)
    queue.wake("east", "event", 0.0)
    queue.take(0.0, 9)
    queue.done("east", 0.0, failed=True)
    queue.wake("east", "event", 0.1)
    queue.wake("west", "event", 0.1)

    assert [w.key for w in queue.take(0.1, 9)] == ["west"]


def test_a_person_who_asks_is_not_kept_waiting_by_the_breaker():
    """An urgent wake tries a target at once."""
    queue = Queue(PACE)
    queue.wake("east", "event", 0.0)
    queue.take(0.0, 9)
    queue.done("east", 0.0, failed=True)
    queue.wake("east", "requested", 0.1, urgent=True)

    assert [w.causes for w in queue.take(0.1, 9)] == [("requested",)]


def test_a_storm_of_events_is_slowed_to_the_pace():
    """After a burst, one run a second: a flapping target does not occupy the pool."""
    queue = Queue(PACE)
    ran = 0
    for tick in range(100):
        now = tick / 10
        queue.wake("east", "event", now)
        for work in queue.take(now, 9):
            ran += 1
            queue.done(work.key, now)

    assert 3 + 8 <= ran <= 3 + 11


def test_a_timer_stands_until_its_time_whatever_happens_before():
    """The full look keeps its schedule though commits come in between."""
    queue = Queue()
    queue.later(SOURCE, "full look", 60.0)
    queue.wake(SOURCE, "file watch", 10.0)

    assert [w.causes for w in queue.take(10.0, 9)] == [("file watch",)]
    queue.done(SOURCE, 10.0)
    assert queue.next_due() == 60.0
    assert [w.causes for w in queue.take(60.0, 9)] == [("full look",)]


def test_a_new_timer_takes_the_place_of_the_old_one():
    """What a run says about the next look is all that counts."""
    queue = Queue()
    queue.later("east", "work in progress", 5.0)
    queue.later("east", "a failed change may be tried again", 50.0)
    assert queue.take(5.0, 9) == []
    queue.later("east", "", None)
    assert queue.take(99.0, 9) == []
    assert queue.next_due() is None


def test_reserved_keys_wait_and_lose_nothing():
    """A command that concerns all targets holds them without dropping a wake."""
    queue = Queue()
    queue.reserve({"east"})
    queue.wake("east", "event", 1.0)

    assert queue.take(1.0, 9) == []
    assert queue.next_due() is None
    queue.release({"east"})
    assert [w.causes for w in queue.take(1.0, 9)] == [("event",)]


def test_idle_tells_whether_runs_have_ended():
    """Waiting for runs to end says whether they did."""
    queue = Queue()
    queue.wake("east", "event", 0.0)
    queue.take(0.0, 9)

    assert not queue.idle({"east"}, 0.0)
    queue.done("east", 1.0)
    assert queue.idle({"east"}, 0.0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["wake", "take", "done"]), st.sampled_from(["a", "b"]), st.floats(0, 5)), max_size=60
    )
)
def test_no_wake_is_lost_and_no_key_runs_twice_at_once(steps):
    """Whatever the order: a key that was woken runs after that wake began, and never beside itself."""
    queue = Queue(Pace(burst=1e9))
    now = 0.0
    running: dict[str, float] = {}
    owed: dict[str, float] = {}
    for what, key, pause in steps:
        now += pause
        match what:
            case "wake":
                queue.wake(key, "event", now)
                owed.setdefault(key, now)
            case "take":
                for work in queue.take(now, 9):
                    assert work.key not in running
                    running[work.key] = now
                    assert owed.pop(work.key) == work.woken_at
            case _:
                running.pop(key, None) is not None and queue.done(key, now)
    for key in list(running):
        queue.done(key, now)
    assert {w.key for w in queue.take(now, 9)} == set(owed)
