"""Several workers behind one listening socket, for a server that nobody supervises.

The socket stays open throughout; a worker accepts from it only when its `init()` is done. Workers that end are
started again with growing pauses, one whose `run()` is stuck is replaced, SIGHUP replaces all one after the other
without losing a request. If the first workers cannot start, their exit code becomes this process'.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .listeners import bind_tcp, inherit
from .settings import Settings

logger = logging.getLogger("reconciler.serving")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
_OURS = ("--host", "--port", "--fd", "--workers", "--control-fd", "--metrics-file", "--metrics-slot")


class Child:
    """One worker process and what it has told."""

    def __init__(self, slot: int, process: asyncio.subprocess.Process, writer: asyncio.StreamWriter) -> None:
        self.slot = slot
        self.process = process
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.leaving = False
        self._writer = writer

    def order(self, what: str) -> None:
        """Send an order of the control protocol."""
        if what == "drain":
            self.leaving = True
        with suppress(OSError):
            self._writer.write(json.dumps({"do": what}).encode() + b"\n")


class Parent:
    """Starts and watches `settings.workers` workers. `arguments` are those of this process."""

    def __init__(self, settings: Settings, arguments: Sequence[str]) -> None:
        self._settings = settings
        self._arguments = without(arguments, _OURS)
        listen = settings.listen
        self._socket = inherit(listen.fd) if listen.fd is not None else bind_tcp(listen.host, listen.port or 0)
        self._serving: dict[int, Child] = {}
        self._all: set[Child] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._started = [1] * settings.workers
        self._stopping = False
        self._reloading = asyncio.Lock()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Returns the exit code."""
        with tempfile.TemporaryDirectory(prefix="reconciler-serving-") as folder:
            self._metrics = Path(folder) / "metrics"
            return asyncio.run(self._run())

    async def _run(self) -> int:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._reload()))
        name = self._socket.getsockname()
        address = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
        logger.info("listening", extra={"fields": {"address": address, "pid": os.getpid()}})
        starting = [asyncio.create_task(self._start(slot)) for slot in range(self._settings.workers)]
        stopped = asyncio.create_task(stop.wait())
        failed = await self._first_failure(starting, stopped)
        if not failed:
            await stop.wait()
        self._stopping = True
        for task in (stopped, *starting):
            task.cancel()
        for child in self._all:
            with suppress(ProcessLookupError):
                child.process.terminate()
        await asyncio.gather(*(child.process.wait() for child in self._all))
        return failed

    async def _first_failure(self, starting: Sequence[asyncio.Task[Child]], stopped: asyncio.Task[bool]) -> int:
        """Exit code of the first worker that ends before it is ready; 0 once all are ready, or on the order to stop."""
        waiting: set[asyncio.Task[Any]] = {*starting, stopped}
        while waiting != {stopped}:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if stopped in done:
                return 0
            for task in done:
                child: Child = task.result()
                if not child.ready.result():
                    return abs(await child.process.wait()) or 3
        return 0

    async def _start(self, slot: int) -> Child:
        """Start a worker; when it is ready it accepts, and the one before it in its slot drains."""
        ours, theirs = socket.socketpair()
        # Two places per slot, in turn: a worker and its successor count at the same time while one drains.
        self._started[slot] += 1
        place = slot + self._settings.workers * (self._started[slot] % 2)
        environment = {**os.environ, "WORKER_COUNT": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).parent),
            *self._arguments,
            "--workers=1",
            f"--fd={self._socket.fileno()}",
            "--hold",
            f"--control-fd={theirs.fileno()}",
            f"--metrics-file={self._metrics}",
            f"--metrics-slot={place}",
            pass_fds=(self._socket.fileno(), theirs.fileno()),
            env=environment,
        )
        theirs.close()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        child = Child(slot, process, writer)
        self._all.add(child)
        self._spawn(self._watch(child, reader))
        if await child.ready:
            before = self._serving.get(slot)
            self._serving[slot] = child
            child.order("accept")
            if before is not None:
                before.order("drain")
        return child

    async def _watch(self, child: Child, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            event = str(json.loads(line).get("event"))
            if event == "ready" and not child.ready.done():
                child.ready.set_result(True)
            elif event == "stuck" and not child.leaving and not self._stopping:
                logger.error("run() is stuck in worker %d: replacing it", child.slot)
                self._spawn(self._restart(child.slot))
        code = await child.process.wait()
        self._all.discard(child)
        if not child.ready.done():
            child.ready.set_result(False)
        elif not child.leaving and not self._stopping and self._serving.get(child.slot) is child:
            logger.error("worker %d ended with exit code %d: starting it again", child.slot, code)
            del self._serving[child.slot]
            self._spawn(self._restart(child.slot))

    async def _restart(self, slot: int) -> None:
        pause = 0.0
        while not self._stopping:
            await asyncio.sleep(pause)
            child = await self._start(slot)
            if child.ready.result():
                return
            pause = min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)
            logger.error("worker %d could not be started; next try in %.1f s", slot, pause)

    async def _reload(self) -> None:
        async with self._reloading:
            for slot in range(self._settings.workers):
                child = await self._start(slot)
                if not child.ready.result():
                    logger.error("reload stopped: the new worker %d could not start; the old ones go on serving", slot)
                    return
            logger.info("reloaded")

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def without(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """Arguments without the named options and their values."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in names:
            skip = True
        elif argument.partition("=")[0] not in names:
            kept.append(argument)
    return kept
