"""One runtime process as its supervisor sees it: its control socket, its output, its end."""

# No pathlib: it would cost each supervisor a megabyte.
# ruff: noqa: PTH108

from __future__ import annotations

import contextlib
import os
import signal
import socket

from reconciler.core.hiding import hide
from reconciler.targets.local.process.journal import Journal, Output
from reconciler.targets.local.process.loop import Loop
from reconciler.targets.local.process.spawn import spawn
from reconciler.targets.local.process.wire import Lines, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STARTING, READY, ACCEPTING, STUCK, DRAINING, DRAINED, EXITED = (
    "starting",
    "ready",
    "accepting",
    "stuck",
    "draining",
    "drained",
    "exited",
)


class Worker:
    """A started runtime process.

    Args:
        launch: `argv`, `env`, `cwd`, `limits` of the version; `secrets` names those of `env` that people are not shown.
        listening: Descriptor of the service's listening socket.
        changed: Called after each change of state.
    """

    def __init__(
        self,
        loop: Loop,
        journal: Journal,
        slot: int,
        launch: dict[str, Any],
        listening: int,
        uds: str,
        extra: list[str],
        changed: Callable[[Worker], None],
    ) -> None:
        self.slot = slot
        self.uds = uds
        self.state = STARTING
        self.reason = ""
        self.detail = ""
        self.status = 0
        self._loop = loop
        self._journal = journal
        self._changed = changed
        self._lines = Lines()
        self._secrets = [str(launch["env"].get(name, "")) for name in launch.get("secrets", ())]
        self.output = Output(journal, self._secrets)
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        self._pipe, writer = os.pipe()
        os.set_blocking(self._pipe, False)
        argv = [
            *launch["argv"],
            *("--fd", str(listening), "--uds", uds, "--control-fd", str(theirs.fileno())),
            *extra,
        ]
        self.pid = spawn(
            argv,
            launch["env"],
            launch["cwd"],
            output=writer,
            control=theirs.fileno(),
            pass_fds=[listening],
            limits=launch["limits"],
        )
        theirs.close()
        os.close(writer)
        loop.add(self._control.fileno(), self._heard)
        loop.add(self._pipe, self._printed)
        loop.child(self.pid, self._ended)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.state != EXITED

    def tell(self, what: str) -> None:
        """Sends an instruction; a worker that is gone does not hear it."""
        with contextlib.suppress(OSError):
            self._control.send(encode({"do": what}))

    def kill(self, number: int) -> None:
        """Sends a signal to the worker and all it started."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _heard(self) -> None:
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove(self._control.fileno())
            return
        for message in self._lines.feed(data):
            self._event(message)

    def _event(self, message: dict[str, Any]) -> None:
        event = message.get("event")
        if event == "failed":
            self.reason = hide(str(message.get("reason", "")), self._secrets)[:2000]
            self.detail = hide(str(message.get("detail") or ""), self._secrets)[-4000:]
        elif event == STUCK and self.alive:
            self.state = STUCK
            self.reason = "run() did not return within its time limit"
            self._changed(self)
        elif event in (READY, ACCEPTING, DRAINING, DRAINED) and self.alive:
            self.state = str(event)
            # Workers of a version load the same models: what one warns of, all do.
            for warning in list(message.get("warnings") or ()) if self.slot == 0 else ():
                self._journal.event(f"warning: {hide(str(warning), self._secrets)[:1000]}")
            self._changed(self)

    def _printed(self) -> None:
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return
        if data:
            self.output.feed(data)
        else:
            self._loop.remove(self._pipe)

    def _ended(self, status: int) -> None:
        # What it wrote last is still in the pipe and the socket.
        while data := _rest(lambda: os.read(self._pipe, 65536)):
            self.output.feed(data)
        while data := _rest(lambda: self._control.recv(65536)):
            for message in self._lines.feed(data):
                self._event(message)
        self.output.end()
        for fd in (self._pipe, self._control.fileno()):
            self._loop.remove(fd)
        os.close(self._pipe)
        self._control.close()
        with contextlib.suppress(OSError):
            os.unlink(self.uds)
        self.status = status
        self.state = EXITED
        self._changed(self)

    def ending(self) -> str:
        """How it ended, in words."""
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            try:
                name = f" ({signal.Signals(number).name})"
            except ValueError:
                name = ""
            return f"killed by signal {number}{name}"
        return f"exited with code {os.waitstatus_to_exitcode(self.status)}"


def _rest(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError:
        return b""
