"""The threads that belong to the script, and the queue before them.

`init()` and `run()` are called in the process' main thread, where Azure ML calls them too: signal handlers, SQLite
connections and CUDA contexts made in `init()` go on working in `run()`. The event loop lives in another thread, so
that health answers while the script works. With a higher `concurrency`, more threads take from the same queue;
an `async def run()` gets an event loop in the main thread instead.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any

from .invoke import Invocation, Job, Outcome
from .outputs import message
from .streams import Channel

Clock = Callable[[], float]


class Runner:
    """Takes jobs from the event loop's thread and gives their outcomes back to it.

    Args:
        server_loop: where outcomes are delivered.
        concurrency: how many `run()` may be under way at once.
        stall: seconds that a client may leave a streamed answer unread.
        clock: seconds, monotonic.
    """

    def __init__(
        self, server_loop: asyncio.AbstractEventLoop, concurrency: int, stall: float, clock: Clock = time.perf_counter
    ) -> None:
        self._server_loop = server_loop
        self._concurrency = concurrency
        self._stall = stall
        self._clock = clock
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._running: dict[Job, float] = {}
        self._tasks: dict[Job, asyncio.Task[None]] = {}
        self._script_loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def submit(self, job: Job) -> None:
        """Queue a job. Called in the server's loop."""
        if self._script_loop is None:
            self._queue.put(job)
        else:
            self._script_loop.call_soon_threadsafe(self._start, job)

    def running(self) -> list[tuple[Job, float]]:
        """Jobs inside `run()` with the time each began."""
        return list(self._running.items())

    def cancel(self, job: Job) -> bool:
        """Stop an async `run()`; a plain one cannot be stopped. Says whether it could."""
        task = self._tasks.get(job)
        if task is None or self._script_loop is None:
            return False
        self._script_loop.call_soon_threadsafe(task.cancel)
        return True

    def stop(self) -> None:
        """Let `work` return after what is queued. Called in the server's loop."""
        self._stopped = True
        if self._script_loop is None:
            for _ in range(self._concurrency):
                self._queue.put(None)
        else:
            self._script_loop.call_soon_threadsafe(self._script_loop.stop)

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run jobs as tasks on this loop of the main thread: for an `async def run()`."""
        self._gate = asyncio.Semaphore(self._concurrency)
        self._script_loop = loop

    def work(self, invocation: Invocation) -> None:
        """Serve jobs until `stop`. Called in the main thread."""
        self._invocation = invocation
        if self._script_loop is not None:
            if not self._stopped:
                self._script_loop.run_forever()
            return
        others = [
            threading.Thread(target=self._work, name=f"run-{n}", daemon=True) for n in range(2, self._concurrency + 1)
        ]
        for thread in others:
            thread.start()
        self._work()
        for thread in others:
            thread.join()

    def _work(self) -> None:
        call, running, clock = self._invocation.call, self._running, self._clock
        get, deliver = self._queue.get, self._server_loop.call_soon_threadsafe
        waiter = _Waiter()
        while (job := get()) is not None:
            if job.abandoned:
                continue
            running[job] = clock()
            outcome = call(job, waiter)
            try:
                del running[job]
                if outcome.answer.stream is None:
                    deliver(job.settle, outcome)
                else:
                    self._stream(job, outcome)
            except RuntimeError:
                return  # The server's loop is closed: nobody waits any more.
            del job, outcome

    def _stream(self, job: Job, outcome: Outcome) -> None:
        answer = outcome.answer
        channel = Channel(self._server_loop, self._stall)
        chunks, close = answer.stream, answer.close
        answer.stream, answer.close = channel, None
        self._server_loop.call_soon_threadsafe(job.settle, outcome)
        assert chunks is not None
        channel.feed(chunks, close, job.request_id)

    def _start(self, job: Job) -> None:
        assert self._script_loop is not None
        self._tasks[job] = self._script_loop.create_task(self._one(job))

    async def _one(self, job: Job) -> None:
        try:
            async with self._gate:
                if job.abandoned:
                    return
                self._running[job] = self._clock()
                outcome = await self._invocation.call_async(job)
                del self._running[job]
                if outcome.answer.stream is None:
                    self._server_loop.call_soon_threadsafe(job.settle, outcome)
                else:
                    self._stream(job, outcome)
        except asyncio.CancelledError:
            self._server_loop.call_soon_threadsafe(job.settle, Outcome(message(504, "run() was stopped"), None))
        finally:
            self._running.pop(job, None)
            self._tasks.pop(job, None)


class _Waiter:
    """Finishes an awaitable on a loop of this thread, made at first need."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, awaitable: Awaitable[Any]) -> Any:
        async def finish() -> Any:
            return await awaitable

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(finish())
