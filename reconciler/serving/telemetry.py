"""What a worker tells of its requests and of what its script says: gathered here, sent by a thread of its own.

Nothing that is on a request's way waits: a record goes into a bounded queue, and where that is full it is dropped and
counted. The thread rests seven times as long as it works, since it takes Python's lock from `run()`. `insights` turns
records into what Application Insights takes; `speech` listens to the script.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from .exchange import Exchange, Outcome
from .invoke import Invocation
from .settings import Service

logger = logging.getLogger("reconciler.serving")

CONNECTION: Final = "APPLICATIONINSIGHTS_CONNECTION_STRING"
# Milliseconds: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
DELAY: Final = "OTEL_BSP_SCHEDULE_DELAY"
PACKAGE: Final = "azure-monitor-opentelemetry-exporter"

MOST = 2048
BATCH = 512
CHUNK = 32
REST = 7.0
EVERY_SECONDS = 5.0
FLUSH_SECONDS = 2.0
COMPLAIN_SECONDS = 60.0
THREAD = "reconciler-telemetry"


class Operation:
    """A request as telemetry knows it: what came with its headers, and the ids that it goes by once it is told.

    Args:
        traceparent: W3C's header, which names the caller's trace; empty where there is none.
    """

    __slots__ = ("client_id", "request_id", "trace", "traceparent")

    def __init__(self, traceparent: bytes, request_id: bytes, client_id: bytes) -> None:
        self.traceparent = traceparent
        self.request_id = request_id
        self.client_id = client_id
        self.trace: Any = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A request with its answer. `ended` in nanoseconds since 1970."""

    operation: Operation
    method: str
    path: str
    status: int
    ended: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """What was printed, logged or raised. `ended` as above; `raised` is an exception's type, message and traceback."""

    operation: Operation | None
    ended: int
    level: int
    source: str
    text: str
    raised: tuple[str, str, str] | None = None


Record = Answered | Said
# Sends records; returns why that was not possible, or "".
Send = Callable[[Sequence[Record]], str]

current: ContextVar[Operation | None] = ContextVar("reconciler.serving.operation", default=None)


class Telemetry:
    """The records of one worker on their way out.

    Args:
        service: who tells.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._queue: deque[Record] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        self._end = threading.Event()
        self._complained = -COMPLAIN_SECONDS
        self._every = EVERY_SECONDS
        self._off = False
        self._failing = False
        self._thread: threading.Thread | None = None

    # -- the life of the thread

    def start(self, environment: Mapping[str, str]) -> str:
        """Begin to send. Returns why nothing will be sent, or "". Called in the main thread, before the script's."""
        send, why = self._connect(environment)
        if send is None:
            self._off = True
            self._queue.clear()
            return f"no telemetry is sent: {why}"
        delay = environment.get(DELAY, "")
        if delay.isdecimal() and int(delay):
            self._every = min(int(delay), 3_600_000) / 1000
        self._thread = threading.Thread(target=self._work, args=(send,), name=THREAD, daemon=True)
        self._thread.start()
        return ""

    def _connect(self, environment: Mapping[str, str]) -> tuple[Send | None, str]:
        if not environment.get(CONNECTION):
            return None, f"set {CONNECTION} to the connection string of the Application Insights resource"
        try:
            from .insights import connect

            return connect(self._service), ""
        except ModuleNotFoundError as error:
            missing = f"the script's environment does not have {PACKAGE} (no module {error.name})"
            return None, f"{missing}; add it to the environment or image"
        except ValueError:
            # Its words may hold the string.
            return None, f"{CONNECTION} is no connection string of an Application Insights resource"
        except Exception as error:  # noqa: BLE001 - whatever keeps an unknown version from loading; scoring goes on
            return None, f"{PACKAGE} cannot be used as it is installed: {type(error).__name__}; install a newer one"

    def stop(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send what is left, for no longer than `seconds`, and take no more."""
        self._end.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive() and not self._off:
                logger.warning("telemetry of the last requests was not sent within %g s", seconds)
        self._off = True

    def _work(self, send: Send) -> None:
        while True:
            self._wake.wait(self._every)
            self._wake.clear()
            last = self._end.is_set()
            while batch := self._take():
                began = time.thread_time()
                self._report(send(batch))
                self._end.wait((time.thread_time() - began) * REST)
            if last:
                return

    def _take(self) -> list[Record]:
        count = min(len(self._queue), BATCH if self._end.is_set() else CHUNK)
        return [self._queue.popleft() for _ in range(count)]

    def _report(self, why: str) -> None:
        now = time.monotonic()
        if self._dropped and (now - self._complained >= COMPLAIN_SECONDS or self._end.is_set()):
            dropped, self._dropped, self._complained = self._dropped, 0, now
            logger.warning("%d records of telemetry were dropped: there were more than could be sent", dropped)
        if why and not self._failing:
            logger.warning("telemetry cannot be sent and is dropped, requests are answered all the same: %s", why)
        elif self._failing and not why:
            logger.info("telemetry is sent again")
        self._failing = bool(why)

    # -- what is told

    def begin(self, exchange: Exchange) -> None:
        """Know a request from its headers on."""
        headers = exchange.headers
        client = headers.get(b"x-ms-client-request-id") or headers.get(b"x-ms-request-id", b"")
        exchange.operation = Operation(headers.get(b"traceparent", b""), exchange.request_id, client)

    def answered(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Tell of a request whose answer is written. The path goes without its query, and nothing of either body."""
        operation: Operation | None = exchange.operation
        if operation is not None:
            path: str = exchange.scope["path"]
            self.tell(Answered(operation, exchange.method, path, status, time.time_ns(), seconds))

    def tell(self, record: Record) -> None:
        """Queue a record, or drop it where too many wait. Called in any thread."""
        if self._off:
            return
        waiting = len(self._queue)
        if waiting >= MOST:
            self._dropped += 1
            return
        self._queue.append(record)
        if waiting >= BATCH and not self._wake.is_set():
            self._wake.set()


class TracedInvocation(Invocation):
    """An invocation during which what the script says belongs to its request.

    What is current stays so until the next request of the thread: a streamed answer is made after the call.
    """

    def call(self, exchange: Exchange, wait: Callable[[Awaitable[Any]], Any]) -> Outcome:
        """As before, within the request's operation."""
        current.set(exchange.operation)
        return super().call(exchange, wait)

    async def call_async(self, exchange: Exchange) -> Outcome:
        """The same for an `async def run()`; every request is a task, with a context of its own."""
        current.set(exchange.operation)
        return await super().call_async(exchange)
