"""A small event loop: descriptors, timers, children and signals, on one thread. It sleeps until something happens."""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import signal
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Timer:
    """A callback at a time; `cancel` makes it not happen."""

    __slots__ = ("at", "callback")

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forgets the callback; harmless afterwards."""
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.at < other.at


class Loop:
    """Runs callbacks until `stop`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._children: dict[int, Callable[[int], None]] = {}
        self._signals: dict[int, Callable[[], None]] = {}
        self._running = True
        self._wake, writer = socket.socketpair()
        self._wake.setblocking(False)
        writer.setblocking(False)
        self._writer = writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wake, READ, self._woken)
        self.on_signal(signal.SIGCHLD, self._reap)

    def add(self, fd: int, callback: Callable[[], None], mask: int = READ) -> None:
        """Calls back whenever the descriptor is ready."""
        self._selector.register(fd, mask, callback)

    def want(self, fd: int, callback: Callable[[], None], mask: int) -> None:
        """Changes what a descriptor is watched for."""
        self._selector.modify(fd, mask, callback)

    def remove(self, fd: int) -> None:
        """Stops watching a descriptor."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls back once, `seconds` from now."""
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def child(self, pid: int, callback: Callable[[int], None]) -> None:
        """Calls back with the wait status (os.waitpid) when a child ends; what is left of its group is killed first."""
        self._children[pid] = callback
        # It may have ended before this line: its signal is then already spent.
        self.later(0.0, self._reap)

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Calls back, from the loop, when a signal came."""
        self._signals[number] = callback
        signal.signal(number, _nothing)

    def stop(self) -> None:
        """Ends `run` after the current callback."""
        self._running = False

    def run(self) -> None:
        """Runs until `stop`."""
        while self._running:
            for key, _ in self._selector.select(self._until_next()):
                # A callback before may have closed this descriptor, and another may have its number by now.
                if self._selector.get_map().get(key.fileobj) is key:
                    _guarded(key.data)
                if not self._running:
                    return
            now = time.monotonic()
            while self._running and self._timers and self._timers[0].at <= now:
                callback = heapq.heappop(self._timers).callback
                if callback is not None:
                    _guarded(callback)

    def _until_next(self) -> float | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].at - time.monotonic()) if self._timers else None

    def _woken(self) -> None:
        try:
            numbers = set(self._wake.recv(4096))
        except BlockingIOError:
            return
        for number in numbers:
            callback = self._signals.get(number)
            if callback is not None:
                callback()

    def _reap(self) -> None:
        for pid in list(self._children):
            # WNOWAIT first: as long as the child is not reaped its id cannot be taken by another group. macOS has no
            # waitid before Python 3.13; there the group is killed right after.
            done = 0, 0
            if not hasattr(os, "waitid"):
                done = os.waitpid(pid, os.WNOHANG)
                if not done[0]:
                    continue
            elif os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _, status = done if done[0] else os.waitpid(pid, 0)
            self._children.pop(pid)(status)


def _guarded(callback: Callable[[], None]) -> None:
    """A fault in one callback must not take the service down; it is told on standard error, which is the log."""
    try:
        callback()
    except Exception:  # noqa: BLE001 - see above
        import traceback

        traceback.print_exc()
        time.sleep(0.1)  # should it come back at once, it shall not burn a processor


def _nothing(number: int, frame: object) -> None:
    """A handler must be there for the signal to reach the wake-up descriptor."""
