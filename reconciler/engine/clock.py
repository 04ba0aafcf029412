"""Time as the engine sees it: injected, so that what decides never reads it and tests never wait for it."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for durations."""

    def now(self) -> float:
        """Unix time in seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Waits until the event is set or the time is over; returns whether it is set."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Waits on the real clock."""
        return event.wait(max(0.0, seconds))


class Cancel:
    """Asks running work to stop at the next step boundary, and says why; the first reason stays."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._reason = ""
        self._listeners: list[threading.Event] = []
        self._lock = threading.Lock()

    def request(self, reason: str) -> None:
        """Stops the work: `interrupted`, `superseded by main@…`, `stopping`."""
        with self._lock:
            self._reason = self._reason or reason
            listeners = tuple(self._listeners)
        self.event.set()
        for listener in listeners:
            listener.set()

    def listen(self, event: threading.Event) -> None:
        """Sets another event too when somebody asks; at once if somebody did."""
        with self._lock:
            self._listeners.append(event)
        if self.event.is_set():
            event.set()

    def ignore(self, event: threading.Event) -> None:
        """Sets it no more."""
        with self._lock:
            self._listeners.remove(event)

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self.event.is_set()

    @property
    def reason(self) -> str:
        """Why; empty if nobody asked."""
        return self._reason
