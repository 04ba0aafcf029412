"""What wakes keys: the repo's file watch, polling a remote, and the targets' own events. None of it carries state."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from reconciler.core.dataclass import dataclass, field
from reconciler.core.driver import Driver, Events
from reconciler.core.errors import ReconcilerError
from reconciler.engine.clock import Clock
from reconciler.engine.daemon.parts import Poll, Watch

log = structlog.get_logger(__name__)

WATCH = "file watch"
POLL = "git poll"
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
JITTER = 0.2


class Threads:
    """Background threads that end when they are told to."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, work: Callable[[threading.Event], None]) -> None:
        """Starts a thread; `work` returns soon after the event it is given is set."""
        thread = threading.Thread(target=work, args=(self.stop,), name=name, daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()]
        self._threads.append(thread)
        thread.start()

    def end(self, seconds: float) -> list[str]:
        """Ends them all; the names of those that did not end in time."""
        self.stop.set()
        for thread in self._threads:
            thread.join(max(0.0, seconds / max(1, len(self._threads))))
        return [thread.name for thread in self._threads if thread.is_alive()]


def watching(watch: Watch, wake: Callable[[str], None], clock: Clock) -> Callable[[threading.Event], None]:
    """A thread's work: wakes whenever the watch yields; a watch that breaks is begun again, after a pause."""

    def work(stop: threading.Event) -> None:
        _again_and_again(lambda: watch(stop), lambda _: wake(WATCH), stop, clock, "repository")

    return work


def polling(
    poll: Poll, wake: Callable[[str], None], clock: Clock, jitter: Callable[[], float] = random.random
) -> Callable[[threading.Event], None]:
    """A thread's work: asks the remote now and then, and wakes when the commit is another or cannot be asked for."""

    def work(stop: threading.Event) -> None:
        known = ""
        failures = 0
        while not clock.wait(stop, _pause(poll.seconds, failures, jitter())):
            try:
                now = poll.peek()
            except ReconcilerError as exc:
                failures += 1
                log.warning("poll failed", error=exc.message, failures=failures)
                continue
            failures = 0
            if now != known:
                known = now
                wake(POLL)

    return work


def _pause(seconds: float, failures: int, chance: float) -> float:
    """Longer after failures, up to ten times, and stretched by chance so that many who poll do not do so at once."""
    return seconds * min(2.0**failures, 10.0) * (1.0 + JITTER * chance)


@dataclass
class EventBook:
    """Which events are worth a line in the history: one that repeats is told once, and a storm is cut off.

    Args:
        repeat_seconds: The same words of the same target within this time are not told again.
        storm: How many events of a target are told in `storm_seconds`.
    """

    repeat_seconds: float = 60.0
    storm: int = 30
    storm_seconds: float = 600.0
    _last: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float], init=False)
    _told: dict[str, list[float]] = field(default_factory=dict[str, list[float]], init=False)

    def worth_telling(self, target: str, text: str, now: float) -> bool:
        """Whether to tell it; counts it if so."""
        self._last = {key: at for key, at in self._last.items() if now - at < self.repeat_seconds}
        told = [at for at in self._told.get(target, []) if now - at < self.storm_seconds]
        if (target, text) in self._last or len(told) >= self.storm:
            return False
        self._last[target, text] = now
        self._told[target] = [*told, now]
        return True


class EventThreads:
    """One thread for each driver that can tell what happens at its target.

    Args:
        happened: Called with target and words of each event.
    """

    def __init__(self, happened: Callable[[str, str], None], clock: Clock) -> None:
        self._happened = happened
        self._clock = clock
        self._watched: dict[str, tuple[Driver, Threads]] = {}

    def watch(self, drivers: Mapping[str, Driver]) -> None:
        """Watches just these: new ones begin, those that are gone or were replaced end."""
        for name, (driver, threads) in list(self._watched.items()):
            if drivers.get(name) is not driver:
                threads.stop.set()
                del self._watched[name]
        for name, driver in drivers.items():
            if name not in self._watched and isinstance(driver, Events):
                threads = Threads()
                self._watched[name] = (driver, threads)
                threads.start(f"events {name}", self._work(name, driver))

    def _work(self, name: str, driver: Events) -> Callable[[threading.Event], None]:
        def tell(text: Any) -> None:
            self._happened(name, str(text))

        def work(stop: threading.Event) -> None:
            _again_and_again(lambda: driver.watch(stop), tell, stop, self._clock, name)

        return work

    def end(self, seconds: float) -> list[str]:
        """Ends them all; the names of those that did not end in time."""
        watched, self._watched = self._watched, {}
        for _, threads in watched.values():
            threads.stop.set()
        return [name for _, threads in watched.values() for name in threads.end(seconds / max(1, len(watched)))]


def _again_and_again(
    begin: Callable[[], Iterable[object]],
    tell: Callable[[object], None],
    stop: threading.Event,
    clock: Clock,
    of: str,
) -> None:
    """Follows a stream of hints until told to stop; one that breaks is begun again, after a growing pause."""
    failures = 0
    while not stop.is_set():
        try:
            for hint in begin():
                failures = 0
                tell(hint)
                if stop.is_set():
                    return
            error = "it ended"
        except ReconcilerError as exc:
            error = exc.message
        except Exception as exc:  # noqa: BLE001  hints are only that: whatever breaks them, the full look goes on
            error = f"{type(exc).__name__}: {exc}"
        if stop.is_set():
            return
        failures += 1
        log.warning("watch broke", of=of, error=error, failures=failures)
        clock.wait(stop, min(FIRST_PAUSE * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE))
