"""One scoring request from its headers to its answer, apart from how bytes come and go.

The protocol (or, without httptools, the plain ASGI callable in `app`) asks `open` as soon as the headers are there;
a refusal is known then, before any of the body is read. Otherwise it gathers the body within the limits and calls
`submit`; the answer comes back through `reply`, in the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .cors import Cors
from .exchange import Exchange, Outcome
from .ids import identify
from .keys import Keys
from .metrics import Metrics
from .outputs import Answer, Headers, message
from .runner import Runner
from .script import EntryScript, Mode
from .settings import Settings

if TYPE_CHECKING:
    from .telemetry import Telemetry

logger = logging.getLogger("reconciler.serving")

NOT_ALLOWED = "The method is not allowed for the requested URL."

Reply = Callable[[Answer], None]


class Scoring:
    """The rules for scoring requests, and the account of those under way."""

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        cors: Cors | None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._metrics = metrics
        self.runner = Runner(loop, self._settle, settings.limits.concurrency, settings.limits.body_timeout)
        self._cors = cors
        self._telemetry = telemetry
        self._version = (b"x-ms-server-version", settings.server_version.encode("latin-1"))
        self._places = settings.limits.queue + settings.limits.concurrency
        self._raw = False
        self._timeout = settings.limits.timeout
        self._max_wait = settings.limits.max_wait
        self._loop = loop
        self._overdue: dict[Exchange, float] = {}
        self._busy = 0.0
        self._buffered = 0
        self.body_budget = max(4 * settings.limits.max_body, 16 * 1024 * 1024)
        self.body_limit = settings.limits.max_body
        self.pending = 0
        self.in_flight = 0
        self.ready = False
        self.why_not = "the entry script is starting"

    # -- the life of the script

    def start(self, entry: EntryScript, init_seconds: float) -> None:
        """The script is loaded and its `init()` done: take requests."""
        self._raw = entry.mode is Mode.RAW
        self._metrics.gauge("init_seconds", init_seconds)
        self.ready = True

    @property
    def stuck(self) -> bool:
        """Whether every place for a `run()` is held by one that took too long."""
        return len(self._overdue) >= self._settings.limits.concurrency

    def readiness(self) -> str:
        """Empty if the worker takes requests, otherwise why it does not."""
        if not self.ready:
            return self.why_not
        if self.stuck:
            return "run() did not return within its time limit; the worker has to be replaced"
        return ""

    # -- one request

    def open(self, scope: dict[str, Any]) -> Exchange:
        """Look at the headers. Everything that can be refused without the body is refused here."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        exchange = Exchange(scope, headers, time.perf_counter())
        self.in_flight += 1
        exchange.refusal = self._refuse(exchange, headers)
        if self._telemetry is not None:
            self._telemetry.begin(exchange)
        return exchange

    def _refuse(self, exchange: Exchange, headers: dict[bytes, bytes]) -> Answer | None:
        exchange.request_id, exchange.ids, wrong_id = identify(headers)
        method = exchange.method
        if self._cors is not None:
            if method == "OPTIONS":
                exchange.origin = self._cors.preflight(headers)
                if not self._raw or b"access-control-request-method" in headers:
                    return Answer(200, [(b"content-type", b"text/html; charset=utf-8"), _SUCCEEDED])
            else:
                exchange.origin = self._cors.headers(headers.get(b"origin"))
        if self._keys.required and not self._keys.allows(headers.get(b"authorization", b"")):
            self._metrics.refused("key")
            return unauthorised()
        if wrong_id:
            return message(431, wrong_id)
        if not self._raw and method != "POST" and method != "GET":
            if method == "OPTIONS":
                return Answer(200, [(b"content-type", b"text/html; charset=utf-8"), _SUCCEEDED])
            return message(405, NOT_ALLOWED if method != "HEAD" else "Method not allowed", headers=[_ALLOW])
        if self._raw and method not in _RAW_METHODS:
            return message(405, NOT_ALLOWED, headers=[_ALLOW])
        if not self.ready:
            self._metrics.refused("starting")
            return busy(self.why_not)
        if self.stuck:
            self._metrics.refused("overdue")
            return busy(self.readiness())
        if self.pending >= self._places:
            self._metrics.refused("queue")
            return busy("too many requests are waiting")
        length = headers.get(b"content-length")
        if length is not None and int(length) > self.body_limit:
            return self.too_large()
        return None

    def submit(self, exchange: Exchange, body: bytes, reply: Reply) -> None:
        """Queue `run()` for a request whose body is whole. `reply` is called once, in the event loop."""
        if self.pending >= self._places:
            self._metrics.refused("queue")
            reply(busy("too many requests are waiting"))
            return
        exchange.body = body
        exchange.reply = reply
        self.pending += 1
        if self._max_wait is not None:
            self._loop.call_later(self._max_wait, self._give_up, exchange)
        self.runner.submit(exchange)

    def _give_up(self, exchange: Exchange) -> None:
        """Answer a request that waited too long for its `run()` to begin."""
        if exchange.settled or self.runner.has_begun(exchange):
            return
        exchange.abandoned = exchange.settled = True
        self.pending -= 1
        self._metrics.refused("queue")
        assert exchange.reply is not None
        exchange.reply(busy("the request waited too long for its turn"))

    def _settle(self, exchange: Exchange, outcome: Outcome) -> None:
        if outcome.seconds is not None:
            self._busy += outcome.seconds
            self._metrics.ran(outcome.seconds, outcome.failed)
        if self._overdue and not outcome.expired:
            self._overdue.pop(exchange, None)
        if exchange.settled:
            close = getattr(outcome.answer.stream, "close", None)
            if close is not None:
                close()
            return
        exchange.settled = True
        self.pending -= 1
        assert exchange.reply is not None
        exchange.reply(outcome.answer)

    def abandon(self, exchange: Exchange) -> None:
        """The client went away before its answer."""
        if exchange.reply is not None and not exchange.settled:
            exchange.abandoned = exchange.settled = True
            self.pending -= 1

    def finish(self, exchange: Exchange, answer: Answer) -> Headers:
        """Complete the answer's headers. Call `close` when its last byte is written."""
        headers = answer.headers
        headers += exchange.ids
        headers.append(self._version)
        if exchange.origin:
            headers += exchange.origin
        return headers

    def close(self, exchange: Exchange, status: int) -> None:
        """Count a request whose answer is written, or whose client has gone (status 499)."""
        self.in_flight -= 1
        seconds = time.perf_counter() - exchange.began
        self._metrics.answered(status, seconds)
        if self._telemetry is not None:
            self._telemetry.answered(exchange, status, seconds)
        if self._settings.access_log:
            self._log(exchange, status)

    # -- what comes with bodies

    def hold(self, count: int) -> bool:
        """Account for `count` more bytes of unfinished bodies (negative: fewer). False where there is no room."""
        self._buffered += count
        return self._buffered <= self.body_budget

    def too_large(self) -> Answer:
        """The answer to a body above the limit."""
        self._metrics.refused("body_size")
        return message(413, f"The request body is larger than the {self.body_limit} bytes that are allowed.")

    def too_slow(self) -> Answer:
        """The answer to a body that does not arrive."""
        self._metrics.refused("body_timeout")
        return message(408, "The request body did not arrive in time.")

    def no_room(self) -> Answer:
        """The answer where unfinished bodies of others take all the memory that is allowed."""
        self._metrics.refused("memory")
        return busy("too many large requests are being received")

    # -- time

    def check(self, now: float) -> None:
        """Answer for each `run()` that took too long, and for those that wait behind it for nothing."""
        for exchange, began in self.runner.running():
            if now - began <= self._timeout or exchange in self._overdue:
                continue
            self._metrics.timed_out()
            logger.error(
                "run() took longer than %.3f s",
                self._timeout,
                extra={"fields": {"request_id": exchange.request_id.decode()}},
            )
            self._overdue[exchange] = began
            self.runner.cancel(exchange)
            status = 500 if self._settings.compat == "azureml" else 504
            text = f"Scoring timeout after {self._timeout * 1000:.0f} ms"
            self._settle(exchange, Outcome(message(status, text, failed=True), None, expired=True))

    def sample(self, now: float) -> float:
        """Seconds that `run()` has been busy so far, with what is under way."""
        return self._busy + sum(now - began for _, began in self.runner.running())

    def show(self) -> None:
        """Bring the gauges up to date."""
        gauge = self._metrics.gauge
        gauge("in_flight", self.in_flight)
        gauge("queue_depth", max(0, self.pending - len(self.runner.running())))
        gauge("ready", 0.0 if self.readiness() else 1.0)

    # -- details

    def _log(self, exchange: Exchange, status: int) -> None:
        fields = {
            "method": exchange.method,
            "path": exchange.scope["path"],
            "status": status,
            "ms": round((time.perf_counter() - exchange.began) * 1000, 3),
            "request_id": exchange.request_id.decode("latin-1"),
        }
        logger.info("request", extra={"fields": fields})


_SUCCEEDED = (b"x-ms-run-function-failed", b"False")
_ALLOW = (b"allow", b"GET, HEAD, OPTIONS, POST")
_RAW_METHODS = ("GET", "POST", "OPTIONS", "HEAD")


def unauthorised() -> Answer:
    """The answer without a key in force."""
    return message(
        401,
        "A valid key is needed: send it as `Authorization: Bearer <key>`.",
        headers=[(b"www-authenticate", b"Bearer")],
    )


def busy(why: str) -> Answer:
    """503: the client may try again soon."""
    return message(503, f"The service cannot take the request now: {why}.", headers=[(b"retry-after", b"1")])
