"""SIGTERM and SIGINT stop, a second one at once; SIGHUP reloads. The previous handlers come back afterwards."""

from __future__ import annotations

import queue
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Protocol

from reconciler.core.dataclass import dataclass

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the daemon stops, and the exit code it stops with.

    Args:
        impatient: Asked while it is stopping already, it stops at once.
    """

    reason: str
    code: int
    impatient: bool = False


class Controlled(Protocol):
    """What signals act upon."""

    def end(self, ending: Ending) -> None:
        """Stops it."""
        ...

    def reload(self) -> None:
        """Reloads its settings."""
        ...


class Signals:
    """Handles signals while it is entered.

    A handler runs in between any two instructions of the main thread, so it only puts the number where a thread waits
    for it (`SimpleQueue.put` is reentrant); that thread acts.
    """

    def __init__(self, controlled: Controlled, enabled: bool) -> None:
        self._controlled = controlled
        self._enabled = enabled
        self._received: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._before: dict[signal.Signals, Any] = {}
        self._thread = threading.Thread(target=self._act, name="signals", daemon=True)

    def __enter__(self) -> Signals:
        if self._enabled:
            self._thread.start()
            self._before = {number: signal.signal(number, self._receive) for number in HANDLED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._enabled:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._received.put(0)
            self._thread.join()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._received.put(number)

    def _act(self) -> None:
        while (number := self._received.get()) != 0:
            match number:
                case signal.SIGHUP:
                    self._controlled.reload()
                case signal.SIGINT:
                    self._controlled.end(Ending("interrupted", 130, impatient=True))
                case _:
                    self._controlled.end(Ending("terminated", 0, impatient=True))
