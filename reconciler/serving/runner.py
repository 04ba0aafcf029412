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

from .exchange import Exchange, Outcome
from .invoke import Invocation
from .outputs import message
from .streams import Channel

Clock = Callable[[], float]


class Runner:
    """Takes exchanges from the event loop's thread and gives their outcomes back to it.

    Args:
        server_loop: where outcomes are delivered.
        settle: takes an exchange and its outcome, in the server's loop.
        concurrency: how many `run()` may be under way at once.
        stall: seconds that a client may leave a streamed answer unread.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        server_loop: asyncio.AbstractEventLoop,
        settle: Callable[[Exchange, Outcome], None],
        concurrency: int,
        stall: float,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._server_loop = server_loop
        self._settle = settle
        self._concurrency = concurrency
        self._stall = stall
        self._clock = clock
        self._queue: SimpleQueue[Exchange | None] = SimpleQueue()
        self._running: dict[Exchange, float] = {}
        self._tasks: dict[Exchange, asyncio.Task[None]] = {}
        self._script_loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def submit(self, exchange: Exchange) -> None:
        """Queue an exchange. Called in the server's loop."""
        if self._script_loop is None:
            self._queue.put(exchange)
        else:
            self._script_loop.call_soon_threadsafe(self._start, exchange)

    def running(self) -> list[tuple[Exchange, float]]:
        """Exchanges inside `run()` with the time each began."""
        return list(self._running.items())

    def has_begun(self, exchange: Exchange) -> bool:
        """Whether an exchange is inside `run()`."""
        return exchange in self._running

    def cancel(self, exchange: Exchange) -> bool:
        """Stop an async `run()`; a plain one cannot be stopped. Says whether it could."""
        task = self._tasks.get(exchange)
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
        """Run exchanges as tasks on this loop of the main thread: for an `async def run()`."""
        self._gate = asyncio.Semaphore(self._concurrency)
        self._script_loop = loop

    def work(self, invocation: Invocation) -> None:
        """Serve exchanges until `stop`. Called in the main thread."""
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
        settle, waiter = self._settle, _Waiter()
        while (exchange := get()) is not None:
            if exchange.abandoned:
                continue
            running[exchange] = clock()
            outcome = call(exchange, waiter)
            try:
                del running[exchange]
                if outcome.answer.stream is None:
                    deliver(settle, exchange, outcome)
                else:
                    self._stream(exchange, outcome)
            except RuntimeError:
                return  # The server's loop is closed: nobody waits any more.
            del exchange, outcome

    def _stream(self, exchange: Exchange, outcome: Outcome) -> None:
        answer = outcome.answer
        channel = Channel(self._server_loop, self._stall)
        chunks, close = answer.stream, answer.close
        answer.stream, answer.close = channel, None
        self._server_loop.call_soon_threadsafe(self._settle, exchange, outcome)
        assert chunks is not None
        channel.feed(chunks, close, exchange.request_id)

    def _start(self, exchange: Exchange) -> None:
        assert self._script_loop is not None
        self._tasks[exchange] = self._script_loop.create_task(self._one(exchange))

    async def _one(self, exchange: Exchange) -> None:
        try:
            async with self._gate:
                if exchange.abandoned:
                    return
                self._running[exchange] = self._clock()
                outcome = await self._invocation.call_async(exchange)
                del self._running[exchange]
                if outcome.answer.stream is None:
                    self._server_loop.call_soon_threadsafe(self._settle, exchange, outcome)
                else:
                    self._stream(exchange, outcome)
        except asyncio.CancelledError:
            self._server_loop.call_soon_threadsafe(
                self._settle, exchange, Outcome(message(504, "run() was stopped"), None)
            )
        finally:
            self._running.pop(exchange, None)
            self._tasks.pop(exchange, None)


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
