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

from .outputs import Answer
from .score import Exchange, Scoring
from .streams import BrokenStream, Channel

logger = logging.getLogger("reconciler.serving")

LINGER_SECONDS = 2.0


class Connections(ServerState):
    """uvicorn's per-server state, with what our protocols share."""

    def __init__(self, scoring: Scoring, header_timeout: float, body_timeout: float) -> None:
        super().__init__()
        self.scoring = scoring
        self.header_timeout = header_timeout
        self.body_timeout = body_timeout
        self.draining = False

    def guarded(self) -> Iterable[Guarded]:
        """The open connections."""
        return cast("list[Guarded]", list(self.connections))


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
        if self.closes_at is not None and now >= self.closes_at:
            self.transport.abort()
        elif self.headers_since is not None and now - self.headers_since > state.header_timeout:
            self.transport.close()
        elif self.body_since is not None and now - self.body_since > state.body_timeout:
            self.body_late()
        elif self.unread_since is not None and now - self.unread_since > state.body_timeout:
            self.transport.abort()
        elif drain_idle is not None and self.idle and now - self.idle_since(now) >= drain_idle:
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

        active: Any = None  # uvicorn's cycle of the scoring request under way; its `exchange` is ours

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._idle_since = None
            self.headers_since = self.loop.time()

        def on_headers_complete(self) -> None:
            self.headers_since = None
            super().on_headers_complete()
            if self.server_state.draining:
                self.cycle.keep_alive = False

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            if cycle.scope["path"] != "/score":
                super()._start_asgi_task(cycle, app)
                return
            scoring: Scoring = self.server_state.scoring
            exchange = cycle.exchange = scoring.open(cycle.scope)
            self.active = cycle
            scoring.hold(len(cycle.body))  # what a pipelined request has brought already
            if exchange.refusal is not None:
                # After this chunk of data is parsed: then it is known whether the body came along.
                self.loop.call_soon(self._refuse, cycle, exchange.refusal)
            elif not cycle.more_body:
                scoring.hold(-len(cycle.body))
                self._body_complete(cycle)
            else:
                if cycle.waiting_for_100_continue:
                    cycle.waiting_for_100_continue = False
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.body_since = self.loop.time()

        def on_body(self, body: bytes) -> None:
            cycle = self.cycle
            exchange: Exchange | None = getattr(cycle, "exchange", None)
            if exchange is None:
                super().on_body(body)
                return
            if exchange.refusal is not None or cycle.response_complete:
                return
            scoring: Scoring = self.server_state.scoring
            size = len(body)
            cycle.body += body
            if not scoring.hold(size):
                exchange.refusal = scoring.no_room()
            elif len(cycle.body) > scoring.body_limit:
                exchange.refusal = scoring.too_large()
            if exchange.refusal is not None:
                scoring.hold(-len(cycle.body))
                cycle.body = bytearray()
                self.loop.call_soon(self._refuse, cycle, exchange.refusal)

        def on_message_complete(self) -> None:
            cycle = self.cycle
            exchange: Exchange | None = getattr(cycle, "exchange", None)
            if exchange is None:
                super().on_message_complete()
                return
            cycle.more_body = False
            self.body_since = None
            if exchange.refusal is None and not cycle.response_complete:
                self.server_state.scoring.hold(-len(cycle.body))
                self._body_complete(cycle)
            elif self.closes_at is not None:
                self.transport.close()

        def body_late(self) -> None:
            self.body_since = None
            cycle = self.active
            if cycle is None or cycle.exchange.refusal is not None:
                return
            exchange: Exchange = cycle.exchange
            scoring: Scoring = self.server_state.scoring
            scoring.hold(-len(cycle.body))
            cycle.body = bytearray()
            exchange.refusal = scoring.too_slow()
            self._refuse(cycle, exchange.refusal)

        def connection_lost(self, exc: Exception | None) -> None:
            cycle = self.active
            if cycle is not None:
                scoring: Scoring = self.server_state.scoring
                if cycle.more_body and cycle.exchange.refusal is None:
                    scoring.hold(-len(cycle.body))
                scoring.abandon(cycle.exchange)
                scoring.close(cycle.exchange, 499)
                self.active = None
            super().connection_lost(exc)

        def _body_complete(self, cycle: Any) -> None:
            exchange: Exchange = cycle.exchange

            def reply(answer: Answer) -> None:
                self._respond(cycle, exchange, answer)

            self.server_state.scoring.submit(exchange, bytes(cycle.body), reply)

        def _refuse(self, cycle: Any, answer: Answer) -> None:
            if self.active is not cycle:
                return
            if cycle.more_body:
                # The client is still sending. Closing now would reset the connection and lose the answer, so it is
                # read out for a moment first.
                self.body_since = None
                cycle.keep_alive = False
                self.closes_at = self.loop.time() + LINGER_SECONDS
                self._respond(cycle, cycle.exchange, answer, close=False)
            else:
                self._respond(cycle, cycle.exchange, answer)

        def _respond(self, cycle: Any, exchange: Exchange, answer: Answer, close: bool = True) -> None:
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
            out = [STATUS_LINE[answer.status]]
            for name, value in state.default_headers:
                out += (name, b": ", value, b"\r\n")
            for name, value in headers:
                out += (name, b": ", value, b"\r\n")
            if not cycle.keep_alive:
                out.append(b"connection: close\r\n")
            out.append(b"content-length: %d\r\n\r\n" % len(body))
            if exchange.method != "HEAD":
                out.append(body)
            self.transport.write(b"".join(out))
            cycle.response_started = cycle.response_complete = True
            state.scoring.close(exchange, answer.status)
            self.active = None
            if close:
                if not cycle.keep_alive:
                    self.transport.close()
                self.on_response_complete()

        async def _stream(
            self, cycle: Any, exchange: Exchange, status: int, headers: list[tuple[bytes, bytes]], channel: Channel
        ) -> None:
            try:
                await cycle.send({"type": "http.response.start", "status": status, "headers": headers})
                while (chunk := await channel.get()) is not None:
                    await cycle.send({"type": "http.response.body", "body": chunk, "more_body": True})
                    if self.transport.is_closing():
                        break
                else:
                    # Forgetting it first: `send` goes on to the next request of the connection.
                    self.active = None
                    await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})
                    self.server_state.scoring.close(exchange, status)
            except BrokenStream:
                self.transport.abort()
            finally:
                channel.close()

    FastProtocol = _FastProtocol
