"""The ASGI application: health, metrics and the API document on Starlette, and scoring for servers without our wire."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .cors import Cors
from .errors import InputError
from .exchange import Exchange
from .ids import identify
from .keys import Keys
from .metrics import Metrics
from .outputs import Answer
from .score import Scoring
from .settings import Settings
from .streams import BrokenStream, Channel
from .swagger import Documents

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

NOT_FOUND = (
    "The requested URL was not found on the server. "
    "If you entered the URL manually please check your spelling and try again."
)


_PLAIN = ("/health/live", "/health/ready", "/metrics")


class Application:
    """One callable per worker. `documents` is set when the script is loaded."""

    def __init__(self, settings: Settings, scoring: Scoring, keys: Keys, metrics: Metrics, cors: Cors | None) -> None:
        self._settings = settings
        self._scoring = scoring
        self._keys = keys
        self._metrics = metrics
        self._cors = cors
        self._version = settings.server_version.encode("latin-1")
        self.draining = False
        self.documents: Documents | None = None
        routes = [
            Route("/", self._root),
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
            Route("/metrics", self._show_metrics),
        ]
        if settings.access.swagger:
            routes.append(Route("/swagger.json", self._swagger))
        self._rest = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})
        self._rest.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(event: MutableMapping[str, Any]) -> None:
            if self.draining and event["type"] == "http.response.start":
                # uvicorn's h11 protocol would close the connection in a drain without saying so.
                event["headers"] = [*event["headers"], (b"connection", b"close")]
            await send(event)

        await self._dispatch(scope, receive, tell)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/score":
            await self._score(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] not in _PLAIN:
            await self._identified(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _identified(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The pages that Azure ML's server has too: with request ids, and for browsers of other origins."""
        headers = dict(scope["headers"])
        _, ids, wrong = identify(headers)
        more = [*ids, (b"x-ms-server-version", self._version)]
        if self._cors is not None:
            more += self._cors.headers(headers.get(b"origin"))

        async def tell(event: MutableMapping[str, Any]) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event["headers"], *more]
            await send(event)

        if wrong:
            await _json({"message": wrong}, 431)(scope, receive, tell)
        else:
            await self._rest(scope, receive, tell)

    # -- everything but scoring

    async def _root(self, request: Request) -> Response:
        why = self._scoring.readiness()
        return Response(f"Unavailable: {why}" if why else "Healthy", 503 if why else 200, media_type="text/html")

    async def _live(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        why = self._scoring.readiness()
        return JSONResponse(
            {"status": "unavailable", "reason": why} if why else {"status": "ready"}, 503 if why else 200
        )

    async def _show_metrics(self, request: Request) -> Response:
        if not self._settings.access.metrics_public and not _is_private(request) and not self._allowed(request):
            return _unauthorised()
        self._scoring.show()
        text = self._metrics.text(self._settings.server_version)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def _swagger(self, request: Request) -> Response:
        if not self._settings.access.swagger_public and not self._allowed(request):
            return _unauthorised()
        if self.documents is None:
            return _json({"message": self._scoring.readiness()}, 503, {"retry-after": "1"})
        try:
            document = self.documents.get(request.query_params.get("version") or "2")
        except InputError as error:
            return _json({"message": error.message}, error.status)
        return Response(document, 200, {"x-ms-run-function-failed": "False"}, "application/json")

    def _allowed(self, request: Request) -> bool:
        return not self._keys.required or self._keys.allows(request.headers.get("authorization", "").encode("latin-1"))

    # -- scoring over plain ASGI

    async def _score(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = self._scoring.open(dict(scope))
        status = 499
        try:
            answer = exchange.refusal
            if answer is None:
                body = await self._body(exchange, receive)
                if body is None:
                    return
                answer = body if isinstance(body, Answer) else await self._run(exchange, body)
            await self._send(exchange, answer, send)
            status = answer.status
        finally:
            self._scoring.abandon(exchange)
            self._scoring.close(exchange, status)

    async def _body(self, exchange: Exchange, receive: Receive) -> bytes | Answer | None:
        scoring, body = self._scoring, bytearray()
        deadline = time.monotonic() + self._settings.limits.body_timeout
        try:
            while True:
                try:
                    event = await asyncio.wait_for(receive(), deadline - time.monotonic())
                except TimeoutError:
                    return scoring.too_slow()
                if event["type"] == "http.disconnect":
                    return None
                chunk: bytes = event.get("body", b"")
                body += chunk
                room = scoring.hold(len(chunk))
                if len(body) > scoring.body_limit:
                    return scoring.too_large()
                if not room:
                    return scoring.no_room()
                if not event.get("more_body", False):
                    return bytes(body)
        finally:
            scoring.hold(-len(body))

    async def _run(self, exchange: Exchange, body: bytes) -> Answer:
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def reply(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        self._scoring.submit(exchange, body, reply)
        return await answered

    async def _send(self, exchange: Exchange, answer: Answer, send: Send) -> None:
        headers = self._scoring.finish(exchange, answer)
        channel = answer.stream
        if not isinstance(channel, Channel):
            headers.append((b"content-length", b"%d" % len(answer.body)))
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
            return
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            while (chunk := await channel.get()) is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except BrokenStream:
            return
        finally:
            channel.close()


def _is_private(request: Request) -> bool:
    """Whether the request came over the worker's own Unix socket, which only its user can open."""
    server: Iterable[Any] | None = request.scope.get("server")
    return server is not None and str(next(iter(server), "")).startswith("/")


def _json(words: Mapping[str, str], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in the spelling of `json.dumps`, as scoring answers have it."""
    more = {"x-ms-run-function-failed": "False", **(headers or {})}
    return Response(json.dumps(words), status, more, "application/json")


def _unauthorised() -> Response:
    words: Mapping[str, str] = {"message": "A valid key is needed: send it as `Authorization: Bearer <key>`."}
    return _json(words, 401, {"www-authenticate": "Bearer"})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: NOT_FOUND, 405: "The method is not allowed for the requested URL."}
    return _json({"message": words.get(error.status_code, error.detail)}, error.status_code, error.headers)
