"""What wakes keys, with time that a test gives."""

from __future__ import annotations

import threading

from reconciler.core.errors import UnavailableError
from reconciler.engine.daemon.parts import Poll
from reconciler.engine.daemon.triggers import EventBook, polling, watching


class Pauses:
    """A clock whose waits take no time, are noted, and end after some."""

    def __init__(self, stop: threading.Event, count: int) -> None:
        self.stop, self.left = stop, count
        self.waits: list[float] = []

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(round(seconds, 6))
        self.left -= 1
        if self.left == 0:
            self.stop.set()
        return event.is_set()


def test_a_poll_wakes_when_the_commit_is_another_and_backs_off_while_it_cannot_ask():
    """The same answer wakes nobody; failures stretch the pause up to ten times; chance spreads it."""
    answers: list[str | None] = ["a", "a", "b", None, None, None, None, None, "b", "c"]
    stop = threading.Event()
    clock = Pauses(stop, len(answers) + 1)
    woken: list[str] = []

    def peek() -> str:
        answer = answers.pop(0)
        if answer is None:
            raise UnavailableError("the remote does not answer")
        woken.append(f"asked {answer}")
        return answer

    polling(Poll(peek, 10.0), woken.append, clock, jitter=lambda: 0.5)(stop)

    expected = ["asked a", "git poll", "asked a", "asked b", "git poll", "asked b", "asked c", "git poll"]
    assert woken == expected
    assert clock.waits == [11.0] * 4 + [22.0, 44.0, 88.0, 110.0, 110.0, 11.0, 11.0]


def test_a_watch_that_breaks_is_begun_again_after_a_growing_pause():
    """Whatever it raises; what it yielded before and afterwards wakes."""
    stop = threading.Event()
    clock = Pauses(stop, 3)
    woken: list[str] = []

    def watch(_: threading.Event):
        yield from ("change",) if not clock.waits else ()
        raise OSError("no more watches")

    watching(watch, woken.append, clock)(stop)

    assert woken == ["file watch"]
    assert clock.waits == [1.0, 2.0, 4.0]


def test_events_that_repeat_or_storm_do_not_fill_the_history():
    """The same words once a minute, and no more than thirty in ten minutes of one target."""
    book = EventBook()
    assert book.worth_telling("east", "a died", 0.0)
    assert not book.worth_telling("east", "a died", 59.0)
    assert book.worth_telling("east", "a died", 61.0)
    assert book.worth_telling("west", "a died", 61.0)
    told = sum(book.worth_telling("east", f"{n} died", 100.0) for n in range(100))
    assert told == 28
    assert book.worth_telling("east", "later", 800.0)
