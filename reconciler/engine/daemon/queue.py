"""The queue: which keys want a run, and when. Level-triggered: a wake says that something may have changed, no more.

One key per target, and one for the source. Many wakes before a run are one run; a wake during a run is one more after
it. Each key has its own circuit breaker and its own rate, so that none delays another. Times are given, never read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from reconciler.core.dataclass import dataclass, field

SOURCE = "*"
MAX_CAUSES = 8


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a key may run.

    Args:
        burst: Runs that may follow each other at once.
        per_second: Runs a second in the long term.
        first_pause, longest_pause: Seconds that the breaker stays open after the first and after many failures.
    """

    burst: float = 20.0
    per_second: float = 2.0
    first_pause: float = 1.0
    longest_pause: float = 60.0


PACE = Pace()


@dataclass(frozen=True, slots=True)
class Work:
    """A key whose time has come.

    Args:
        woken_at: Monotonic time of the first wake that this run answers.
        causes: Why, in words, each once.
    """

    key: str
    woken_at: float
    causes: tuple[str, ...]


@dataclass(slots=True)
class _Entry:
    due: float | None = None
    timer: float | None = None
    timer_cause: str = ""
    woken_at: float | None = None
    causes: list[str] = field(default_factory=list[str])
    running: bool = False
    reserved: bool = False
    failures: int = 0
    open_until: float = float("-inf")
    tokens: float = 0.0
    counted_at: float = float("-inf")

    @property
    def at(self) -> float | None:
        """When it is due, woken or by its timer; an open breaker puts both off."""
        times = [t for t in (self.due, self.timer) if t is not None]
        return max(min(times), self.open_until) if times else None


class Queue:
    """Keys with the times they are due at. Safe to use from many threads.

    Args:
        pace: Of every key.
        jitter: A factor around 1 for the breaker's pauses.
        notify: Called after whatever may have made a key due.
    """

    def __init__(
        self,
        pace: Pace = PACE,
        jitter: Callable[[], float] = lambda: 1.0,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        self._pace = pace
        self._jitter = jitter
        self._notify = notify
        self._entries: dict[str, _Entry] = {}
        self._changed = threading.Condition()

    def wake(self, key: str, cause: str, now: float, *, urgent: bool = False) -> None:
        """Asks for a run as soon as may be.

        Args:
            urgent: A person (or a new commit) asks: an open breaker is tried at once, and the rate does not count.
        """
        with self._changed:
            entry = self._entry(key, now)
            if urgent:
                entry.open_until = float("-inf")
                entry.tokens = max(entry.tokens, 1.0)
            entry.due = now if entry.due is None else min(entry.due, now)
            if entry.woken_at is None:
                entry.woken_at = now
            if cause not in entry.causes and len(entry.causes) < MAX_CAUSES:
                entry.causes.append(cause)
        self._notify()

    def later(self, key: str, cause: str, at: float | None) -> None:
        """Sets the key's timer, in place of the one it had; None takes it away."""
        with self._changed:
            entry = self._entry(key, at if at is not None else 0.0)
            entry.timer, entry.timer_cause = at, cause
        self._notify()

    def take(self, now: float, room: int) -> list[Work]:
        """The keys to run now, longest overdue first; they count as running until `done`.

        Args:
            room: At most so many, the source apart: a new commit waits for no target.
        """
        taken: list[Work] = []
        with self._changed:
            ready = sorted(
                (at, key)
                for key, entry in self._entries.items()
                if (at := entry.at) is not None and at <= now and not entry.running and not entry.reserved
            )
            for at, key in ready:
                if len(taken) >= room and key != SOURCE:
                    continue
                entry = self._entries[key]
                wait = self._count(entry, now)
                if wait > 0.0:
                    entry.open_until = max(entry.open_until, now + wait)
                    continue
                if entry.timer is not None and entry.timer <= now:
                    entry.causes.append(entry.timer_cause)
                    entry.timer = None
                woken = entry.woken_at if entry.woken_at is not None else at
                taken.append(Work(key, woken, tuple(dict.fromkeys(entry.causes))))
                entry.due, entry.woken_at, entry.running = None, None, True
                entry.causes.clear()
        return taken

    def done(self, key: str, now: float, *, failed: bool = False) -> float:
        """A run has ended.

        Args:
            failed: The target could not be reached: the breaker opens for longer each time.

        Returns:
            Seconds that the breaker stays open; 0 if it is closed.
        """
        with self._changed:
            entry = self._entry(key, now)
            entry.running = False
            pause = 0.0
            if failed:
                entry.failures += 1
                pause = min(self._pace.first_pause * 2.0 ** min(entry.failures - 1, 30), self._pace.longest_pause)
                pause *= self._jitter()
                entry.open_until = now + pause
                entry.timer, entry.timer_cause = entry.open_until, "back-off is over"
            else:
                entry.failures, entry.open_until = 0, float("-inf")
            self._changed.notify_all()
        self._notify()
        return pause

    def reserve(self, keys: Collection[str]) -> None:
        """Keeps keys from being taken; runs that are under way go on (`idle` says when they have ended)."""
        with self._changed:
            for key in keys:
                self._entry(key, 0.0).reserved = True

    def release(self, keys: Collection[str]) -> None:
        """Lets them be taken again."""
        with self._changed:
            for key in keys:
                self._entry(key, 0.0).reserved = False
        self._notify()

    def idle(self, keys: Collection[str], seconds: float) -> bool:
        """Waits until none of the keys runs; whether that came true in the time given."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(self._entry(k, 0.0).running for k in keys), seconds)

    def drop(self, key: str) -> None:
        """Forgets a key that does not run now."""
        with self._changed:
            entry = self._entries.get(key)
            if entry is not None and not entry.running and not entry.reserved:
                del self._entries[key]

    def keys(self) -> frozenset[str]:
        """Every key known."""
        with self._changed:
            return frozenset(self._entries)

    def depth(self, now: float) -> int:
        """How many keys are due and not running."""
        with self._changed:
            times = [e.at for e in self._entries.values() if not e.running]
            return sum(at is not None and at <= now for at in times)

    def next_due(self) -> float | None:
        """When the next key that may be taken is due; None if none will ever be."""
        with self._changed:
            times = [e.at for e in self._entries.values() if not e.running and not e.reserved]
            return min((at for at in times if at is not None), default=None)

    def _entry(self, key: str, now: float) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(tokens=self._pace.burst, counted_at=now)
        return entry

    def _count(self, entry: _Entry, now: float) -> float:
        """Takes one run out of the key's budget; seconds until there is one."""
        gained = max(0.0, now - entry.counted_at) * self._pace.per_second
        entry.tokens = min(self._pace.burst, entry.tokens + gained)
        entry.counted_at = max(now, entry.counted_at)
        if entry.tokens < 1.0:
            return (1.0 - entry.tokens) / self._pace.per_second
        entry.tokens -= 1.0
        return 0.0
