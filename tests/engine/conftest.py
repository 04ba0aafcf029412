"""A clock that moves only when somebody waits, and a store in a fresh folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.engine.store import Store


class FakeClock:
    """Waiting takes no time: it moves the clock, unless the event is set meanwhile by another thread."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def wait(self, event: threading.Event, seconds: float) -> bool:
        # An hour and more is the scheduler's way of waiting for a worker: no time passes then.
        if event.wait(10.0 if seconds >= 3600 else 0.01):
            return True
        with self._lock:
            self.time += max(seconds, 0.0)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.time += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    opened = Store(tmp_path / "state.db", clock)
    yield opened
    opened.close()
