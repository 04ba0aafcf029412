"""All workers of one version: starting, keeping alive, draining, ending."""

# No pathlib: it would cost each supervisor a megabyte.
# ruff: noqa: PTH108

from __future__ import annotations

import contextlib
import os
import signal

from reconciler.targets.local.process.journal import Journal
from reconciler.targets.local.process.listener import Listener
from reconciler.targets.local.process.loop import Loop, Timer
from reconciler.targets.local.process.worker import ACCEPTING, DRAINED, EXITED, READY, STARTING, STUCK, Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 30.0
CALM = 60.0  # seconds of service after which earlier exits no longer count
STRIKES = 3  # exits in a row that make a crash loop
KILL_AFTER = 2.0  # seconds between SIGTERM and SIGKILL


class Group:
    """The processes of a version. Staged it gives up at the first exit; serving it starts what ended anew.

    Args:
        launch: What the driver sent: `id`, `folder` (of its files), `argv`, `env`, `cwd`, `limits`, `replicas`,
            `readySeconds`, `drainSeconds`, `host`, `port`, `keys`, `spec`, `specDigest`.
        sockets: Folder for the workers' private sockets.
        serial: Number of this group among those of the supervisor.
        changed: Called after each change of state.
    """

    def __init__(
        self,
        loop: Loop,
        journal: Journal,
        sockets: str,
        launch: dict[str, Any],
        listener: Listener,
        serial: int,
        changed: Callable[[Group], None],
    ) -> None:
        self.launch = launch
        self.listener = listener
        self.serial = serial
        self.id = str(launch["id"])
        self.serving = False
        self.ending = False
        self.failure = ""
        self.trouble = ""
        self.strikes = 0
        self.restarts = 0
        self.slots: list[Worker | None] = [None] * int(launch["replicas"])
        self._loop = loop
        self._journal = journal
        self._sockets = sockets
        self._changed = changed
        self._timers: dict[int, Timer] = {}
        self._calm: Timer | None = None
        self.folder = str(launch["folder"])
        self.keys_stamp: list[int] | None = None
        self.keys_file = f"{self.folder}/keys.json" if launch["keys"] is not None else ""

    def start(self) -> None:
        """Starts every worker."""
        for slot in range(len(self.slots)):
            self._start(slot)

    def _start(self, slot: int) -> None:
        self._timers.pop(slot, None)
        if self.ending:
            return
        uds = f"{self._sockets}/w{self.serial}-{slot}.sock"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(uds)
        extra = ["--metrics-file", f"{self.folder}/metrics", "--metrics-slot", str(slot)]
        extra += ["--keys-file", self.keys_file] if self.keys_file else []
        try:
            worker = Worker(
                self._loop, self._journal, slot, self.launch, self.listener.socket.fileno(), uds, extra, self._heard
            )
        except OSError as error:
            self._lost(slot, f"a process could not be started: {error.strerror}", "")
            return
        self.slots[slot] = worker
        self._timers[slot] = self._loop.later(float(self.launch["readySeconds"]), lambda: self._too_late(worker))

    def _too_late(self, worker: Worker) -> None:
        if worker.state == STARTING:
            worker.reason = f"not ready within {self.launch['readySeconds']:g} s"
            worker.kill(signal.SIGKILL)

    def _heard(self, worker: Worker) -> None:
        if worker.state == READY:
            timer = self._timers.pop(worker.slot, None)
            if timer:
                timer.cancel()
            if self.serving and not self.ending:
                worker.tell("accept")
        elif worker.state == STUCK:
            # A Python thread cannot be stopped; nobody waits any more for what it does.
            worker.kill(signal.SIGTERM)
            self._loop.later(KILL_AFTER, lambda: worker.kill(signal.SIGKILL))
        elif worker.state == DRAINED:
            self._loop.later(KILL_AFTER, lambda: worker.kill(signal.SIGKILL))
        elif worker.state == EXITED:
            self._exited(worker)
            return
        if self.strikes and self.all_in(ACCEPTING):
            self._calm = self._loop.later(CALM, self._calmed)
        self._changed(self)

    def _calmed(self) -> None:
        self.strikes = 0
        self.trouble = ""
        self._changed(self)

    def _exited(self, worker: Worker) -> None:
        timer = self._timers.pop(worker.slot, None)
        if timer:
            timer.cancel()
        self.slots[worker.slot] = None
        if self.ending:
            self._changed(self)
            return
        why = worker.reason or worker.ending()
        if not worker.reason and worker.status == 9:
            why += ", by hand or for want of memory on this machine"
        tail = "\n".join([worker.detail.rstrip()] if worker.detail else worker.output.tail)
        memory = self.launch["limits"].get("memoryBytes")
        if memory and "MemoryError" in tail + why:
            why += f"; its memory is limited to {memory / 1e9:g} GB"
        self._lost(worker.slot, why, tail)

    def _lost(self, slot: int, why: str, tail: str) -> None:
        self.trouble = f"{why}\n{tail}".rstrip()
        name = f"worker {slot} of version {self.id[:8]}"
        if not self.serving:
            self.failure = self.failure or self.trouble
            self._journal.event(f"staged {name}: {_first_line(why)}")
            self.end(0.0)
            self._changed(self)
            return
        # The first exit after a calm time is an accident, answered at once; more of them are a crash loop.
        if self._calm:
            self._calm.cancel()
        self.strikes += 1
        self.restarts += 1
        wait = 0.0 if self.strikes == 1 else min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** (self.strikes - 1))
        self._timers[slot] = self._loop.later(wait, lambda: self._start(slot))
        again = "started again" if not wait else f"starts again in {wait:g} s"
        self._journal.event(f"{name}: {_first_line(why)}, {again}")
        self._changed(self)

    def all_in(self, state: str) -> bool:
        """Whether every worker runs and is in a state."""
        return all(worker is not None and worker.state == state for worker in self.slots)

    @property
    def running(self) -> bool:
        """Whether any process of it is left."""
        return any(worker is not None for worker in self.slots)

    def workers(self) -> list[Worker]:
        """Those that run."""
        return [worker for worker in self.slots if worker is not None]

    def serve(self) -> None:
        """Lets the workers accept from the listening socket; from now on they are kept alive."""
        self.serving = True
        self.failure = ""
        for worker in self.workers():
            if worker.state == READY:
                worker.tell("accept")

    def reload_keys(self) -> None:
        """Has the workers read their keys again."""
        for worker in self.workers():
            worker.tell("reload-keys")

    def end(self, drain_seconds: float) -> None:
        """Ends all workers: those that serve finish what they have, then SIGTERM, then SIGKILL."""
        if self.ending and drain_seconds:
            return
        self.ending = True
        for timer in (*self._timers.values(), *([self._calm] if self._calm else ())):
            timer.cancel()
        self._timers.clear()
        for worker in self.workers():
            if drain_seconds and worker.state in (READY, ACCEPTING):
                worker.tell("drain")
                self._loop.later(drain_seconds, lambda w=worker: w.kill(signal.SIGTERM))
            else:
                worker.kill(signal.SIGTERM)
            self._loop.later(drain_seconds + KILL_AFTER, lambda w=worker: w.kill(signal.SIGKILL))

    def health(self) -> tuple[str, str]:
        """Health and reason, in the words of the contract."""
        if self.failure:
            return "Degraded", self.failure
        if self.serving:
            if self.strikes >= STRIKES:
                return "Degraded", f"crash loop: ended {self.strikes} times in a row; {self.trouble}"
            if self.all_in(ACCEPTING):
                return "Healthy", ""
            up = sum(worker.state == ACCEPTING for worker in self.workers())
            return "Progressing", f"{up} of {len(self.slots)} workers serve; {self.trouble}".rstrip("; ")
        if all(worker is not None and worker.state in (READY, ACCEPTING) for worker in self.slots):
            return "Healthy", ""
        return "Progressing", "starting"

    def report(self) -> dict[str, Any]:
        """For the state file; without the environment, which may hold secrets."""
        health, reason = self.health()
        return {
            "id": self.id,
            "specDigest": self.launch["specDigest"],
            "health": health,
            "reason": reason,
            "restarts": self.restarts,
            "workers": [{"slot": w.slot, "pid": w.pid, "state": w.state, "uds": w.uds} for w in self.workers()],
        }


def _first_line(text: str) -> str:
    return text.splitlines()[0][:1000] if text else ""
