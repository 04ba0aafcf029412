"""How bytes come and go: uvicorn's HTTP protocols with what they lack.

Three things are added to both: a connection whose request headers do not arrive is closed, a peer that does not read
its answer is cut off, and a drain answers with `Connection: close` instead of cutting idle connections. With
httptools, scoring requests also skip ASGI: no task, no events, one write per answer. That is where the speed is;
without httptools the same rules run behind `app`'s plain ASGI callable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .exchange import Exchange
from .outputs import Answer
from .score import Scoring
from .settings import Limits
from .streams import BrokenStream, Channel

logger = logging.getLogger("reconciler.serving")

LINGER_SECONDS = 2.0
HEADER_BYTES = 64 * 1024


class Connections(ServerState):
    """uvicorn's per-server state, with what our protocols share."""

    def __init__(self, scoring: Scoring, limits: Limits) -> None:
        super().__init__()
        self.scoring = scoring
        self.header_timeout = limits.header_timeout
        self.body_timeout = limits.body_timeout
        self.draining = False
        self.keep_alive = limits.keep_alive
        self.date_lines: tuple[bytes, ...] = ()

    def set_date(self, date: bytes) -> None:
        """What the `Date` header says from now on."""
        self.default_headers = [(b"date", date)]
        self.date_lines = (b"date: ", date, b"\r\n")

    def guarded(self) -> Iterable[Guarded]:
        """The open connections."""
        return cast("list[Guarded]", list(self.connections))


def _past(since: float | None, allowed: float, now: float) -> bool:
    return since is not None and now - since > allowed


class _Cycle:
    """A scoring request on a connection, with the attributes that uvicorn's protocol asks its own cycles for."""

    __slots__ = (
        "chunks",
        "exchange",
        "expects_100",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "size",
    )

    def __init__(self, scope: dict[str, Any], keep_alive: bool, expects_100: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects_100 = expects_100
        self.exchange: Exchange | None = None
        self.chunks: list[bytes] = []
        self.size = 0
        self.more_body = True
        self.response_started = False
        self.response_complete = False


class Guarded(asyncio.Protocol):
    """What our two protocols share. Times are those of the event loop; None where nothing is waited for."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    server_state: Any
    cycle: Any
    headers_since: float | None = None
    body_since: float | None = None
    unread_since: float | None = None
    closes_at: float | None = None
    quiet_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.headers_since = self.loop.time()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread_since = None

    @property
    def idle(self) -> bool:
        """Whether no request is under way on this connection."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def sweep(self, now: float, drain_idle: float | None) -> None:
        """Close the connection if its peer keeps us waiting; in a drain, also if it has been idle for long enough."""
        state: Connections = self.server_state
        if _past(self.closes_at, 0.0, now) or _past(self.unread_since, state.body_timeout, now):
            self.transport.abort()
        elif _past(self.headers_since, state.header_timeout, now):
            self.transport.close()
        elif _past(self.body_since, state.body_timeout, now):
            self.body_late()
        elif self.idle:
            quiet = _past(self.quiet_since, state.keep_alive, now)
            if quiet or (drain_idle is not None and now - self.idle_since(now) >= drain_idle):
                self.transport.close()

    _idle_since: float | None = None

    def idle_since(self, now: float) -> float:
        """When this connection was first seen idle in the drain."""
        if self._idle_since is None:
            self._idle_since = now
        return self._idle_since

    def begin_drain(self) -> None:
        """Answer the request under way, if there is one, with `Connection: close`."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def body_late(self) -> None:
        """The request's body did not arrive in time."""
        self.transport.abort()


class SlowProtocol(Guarded, H11Protocol):
    """Without httptools: h11 and plain ASGI."""

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self.headers_since = None
            if self.server_state.draining:
                self.begin_drain()
        elif self.idle and self.headers_since is None:
            self.headers_since = self.loop.time()


try:
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
except ImportError:
    FastProtocol: type[Guarded] = SlowProtocol
else:

    class _FastProtocol(Guarded, HttpToolsProtocol):
        """With httptools: scoring requests are answered without ASGI."""

        active: _Cycle | None = None  # the scoring request under way

        _head = 0  # bytes of request headers that are not complete yet

        def data_received(self, data: bytes) -> None:
            waiting = self.headers_since
            super().data_received(data)
            if waiting is not None and self.headers_since is waiting:
                self._head += len(data)
                if self._head > HEADER_BYTES and not self.transport.is_closing():
                    self.send_400_response("Request headers are too large.")

        def on_message_begin(self) -> None:
            self._head = 0
            # The scope that uvicorn makes here is made later, for other requests than scoring.
            self.url = b""
            self.headers = []
            self.expect_100_continue = False
            self._idle_since = self.quiet_since = None
            self.headers_since = self.loop.time()

        def on_headers_complete(self) -> None:
            self.headers_since = None
            url = self.url
            if url == b"/score" or url.startswith(b"/score?"):
                self._open(url)
            else:
                headers, expects = self.headers, self.expect_100_continue
                super().on_message_begin()
                self.url, self.expect_100_continue = url, expects
                self.headers.extend(headers)
                super().on_headers_complete()
                if self.server_state.draining:
                    self.cycle.keep_alive = False

        def _open(self, url: bytes) -> None:
            parser = self.parser
            assert parser is not None  # it is called by it
            version = parser.get_http_version()
            scope: dict[str, Any] = {
                "type": "http",
                "method": parser.get_method().decode("ascii"),
                "path": "/score",
                "query_string": url[7:],
                "http_version": version,
                "scheme": self.scheme,
                "server": self.server,
                "client": self.client,
                "headers": self.headers,
            }
            keep_alive = version != "1.0" and parser.should_keep_alive() and not self.server_state.draining
            cycle = _Cycle(scope, keep_alive, self.expect_100_continue)
            before, self.cycle = self.cycle, cycle
            if before is None or before.response_complete:
                self._start_asgi_task(cycle, None)
            else:
                # Sent before the answer to the one before it: waits its turn, as uvicorn's own do.
                self.flow.pause_reading()
                self.pipeline.appendleft((cast("Any", cycle), cast("Any", None)))

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            if type(cycle) is _Cycle:
                self._begin(cycle)
            else:
                super()._start_asgi_task(cycle, app)

        def _begin(self, cycle: _Cycle) -> None:
            scoring: Scoring = self.server_state.scoring
            self.active = cycle
            exchange = cycle.exchange = scoring.open(cycle.scope)
            if exchange.refusal is not None:
                # After this chunk of data is parsed: then it is known whether the body came along.
                self.loop.call_soon(self._refuse, cycle)
            elif not cycle.more_body:
                self._submit(cycle, exchange)
            else:
                if cycle.expects_100:
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.body_since = self.loop.time()

        def on_body(self, body: bytes) -> None:
            cycle = self.cycle
            if type(cycle) is not _Cycle:
                super().on_body(body)
                return
            exchange = cycle.exchange
            if cycle.response_complete or (exchange is not None and exchange.refusal is not None):
                return
            scoring: Scoring = self.server_state.scoring
            cycle.chunks.append(body)
            cycle.size += len(body)
            refusal = None
            room = scoring.hold(len(body))
            if cycle.size > scoring.body_limit:
                refusal = scoring.too_large()
            elif not room:
                refusal = scoring.no_room()
            if refusal is not None:
                self._drop(cycle)
                if exchange is None:  # pipelined and not begun: nothing can be answered out of turn
                    self.transport.abort()
                    return
                exchange.refusal = refusal
                self.loop.call_soon(self._refuse, cycle)

        def on_message_complete(self) -> None:
            cycle = self.cycle
            if type(cycle) is not _Cycle:
                super().on_message_complete()
                return
            cycle.more_body = False
            self.body_since = None
            exchange = cycle.exchange
            if exchange is None:
                return
            if exchange.refusal is None and not cycle.response_complete:
                self._submit(cycle, exchange)
            elif self.closes_at is not None:
                self.transport.close()

        def _submit(self, cycle: _Cycle, exchange: Exchange) -> None:
            chunks = cycle.chunks
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._drop(cycle)

            def reply(answer: Answer) -> None:
                self._respond(cycle, exchange, answer)

            self.server_state.scoring.submit(exchange, body, reply)

        def _drop(self, cycle: _Cycle) -> None:
            if cycle.size:
                self.server_state.scoring.hold(-cycle.size)
                cycle.chunks, cycle.size = [], 0

        def body_late(self) -> None:
            self.body_since = None
            cycle = self.active
            if cycle is None or cycle.exchange is None or cycle.exchange.refusal is not None:
                return
            self._drop(cycle)
            cycle.exchange.refusal = self.server_state.scoring.too_slow()
            self._refuse(cycle)

        def connection_lost(self, exc: Exception | None) -> None:
            for cycle in (self.active, self.cycle, *(waiting for waiting, _ in self.pipeline)):
                if type(cycle) is _Cycle:
                    self._drop(cycle)
            active = self.active
            if active is not None and active.exchange is not None:
                scoring: Scoring = self.server_state.scoring
                scoring.abandon(active.exchange)
                scoring.close(active.exchange, 499)
            self.active = None
            if type(self.cycle) is _Cycle:
                self.cycle = cast("Any", None)
            super().connection_lost(exc)

        def _refuse(self, cycle: _Cycle) -> None:
            exchange = cycle.exchange
            if self.active is not cycle or exchange is None or exchange.refusal is None:
                return
            if cycle.more_body:
                # The client is still sending. Closing now would reset the connection and lose the answer, so it is
                # read out for a moment first.
                self.body_since = None
                cycle.keep_alive = False
                self.closes_at = self.loop.time() + LINGER_SECONDS
                self._respond(cycle, exchange, exchange.refusal, close=False)
            else:
                self._respond(cycle, exchange, exchange.refusal)

        def _respond(self, cycle: _Cycle, exchange: Exchange, answer: Answer, close: bool = True) -> None:
            if self.active is not cycle or self.transport.is_closing():
                if isinstance(answer.stream, Channel):
                    answer.stream.close()
                return
            state: Connections = self.server_state
            headers = state.scoring.finish(exchange, answer)
            if isinstance(answer.stream, Channel):
                task = self.loop.create_task(self._stream(cycle, exchange, answer.status, headers, answer.stream))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
                return
            body = answer.body
            out = [STATUS_LINE[answer.status], *state.date_lines]
            for name, value in headers:
                out += (name, b": ", value, b"\r\n")
            if not cycle.keep_alive:
                out.append(b"connection: close\r\n")
            out.append(b"content-length: %d\r\n\r\n" % len(body))
            if exchange.method != "HEAD":
                out.append(body)
            self.transport.write(b"".join(out))
            self._answered(cycle, exchange, answer.status, close)

        def _answered(self, cycle: _Cycle, exchange: Exchange, status: int, close: bool) -> None:
            cycle.response_started = cycle.response_complete = True
            self.server_state.scoring.close(exchange, status)
            self.active = None
            if not close:
                return
            if not cycle.keep_alive:
                self.transport.close()
            elif self.pipeline:
                self.on_response_complete()
            else:
                self.quiet_since = self.loop.time()

        async def _stream(
            self, cycle: _Cycle, exchange: Exchange, status: int, headers: list[tuple[bytes, bytes]], channel: Channel
        ) -> None:
            known = any(name == b"content-length" for name, _ in headers)
            chunked = not known and cycle.scope["http_version"] != "1.0"
            out = [STATUS_LINE[status], *self.server_state.date_lines]
            for name, value in headers:
                out += (name, b": ", value, b"\r\n")
            if not known:
                out.append(b"transfer-encoding: chunked\r\n" if chunked else b"")
            if not cycle.keep_alive:
                out.append(b"connection: close\r\n")
            out.append(b"\r\n")
            cycle.response_started = True
            self.transport.write(b"".join(out))
            try:
                while (chunk := await channel.get()) is not None:
                    if self.active is not cycle:
                        return
                    self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    if self.flow.write_paused:
                        await self.flow.drain()
                if self.active is cycle:
                    if chunked:
                        self.transport.write(b"0\r\n\r\n")
                    self._answered(cycle, exchange, status, close=True)
            except BrokenStream:
                self.transport.abort()
            finally:
                channel.close()

    FastProtocol = _FastProtocol
