"""A forge at the wire: HTTPS on loopback, every request kept, failures on demand.

What each forge answers stands in `wire_github`, `wire_gitlab` and `wire_azure`; they refuse what the real ones refuse,
and anything that is none of their calls ends the test.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """One request; `path` is as it was sent, still quoted."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    """One answer; a body that is text is sent as it is, anything else as JSON."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What happens to matching requests instead of what should.

    Args:
        answer: Sent in place of the real one; None breaks the connection.
        after: The request is carried out all the same, and only its answer lost.
        times: How many requests it concerns.
    """

    pattern: str
    answer: Answer | None
    after: bool = False
    times: int = 1


class Wire:
    """A forge that listens; `handle` says what it answers.

    Args:
        certificate: A certificate for 127.0.0.1 and its key; None speaks plain HTTP.
    """

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.requests: list[Request] = []
        self.unexpected: list[str] = []
        self.faults: list[Fault] = []
        self.hooks: list[tuple[str, Callable[[], None]]] = []
        self.lock = threading.RLock()
        self._server = _server(self)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            scheme = "https"
        self.origin = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def handle(self, request: Request) -> Answer:
        raise NotImplementedError

    def fail(self, pattern: str, answer: Answer | None, *, after: bool = False, times: int = 1) -> None:
        """The next requests of which `METHOD /path` matches the pattern fail."""
        self.faults.append(Fault(pattern, answer, after, times))

    def before(self, pattern: str, hook: Callable[[], None]) -> None:
        """Something else happens just before the next matching request is carried out."""
        self.hooks.append((pattern, hook))

    def sent(self, pattern: str) -> list[Request]:
        """Requests of which `METHOD /path` matches the pattern."""
        return [request for request in self.requests if re.search(pattern, str(request))]

    def answer(self, request: Request) -> Answer | None:
        """What a request gets; None breaks the connection."""
        with self.lock:
            self.requests.append(request)
            fault = next((f for f in self.faults if f.times > 0 and re.search(f.pattern, str(request))), None)
            if fault is not None:
                fault.times -= 1
            hook = next((h for h in self.hooks if re.search(h[0], str(request))), None)
            if hook is not None:
                self.hooks.remove(hook)
        if hook is not None:
            hook[1]()
        if fault is not None and not fault.after:
            return fault.answer
        with self.lock:
            given = self.handle(request)
        if given.status == 599:
            self.unexpected.append(str(request))
        return fault.answer if fault is not None else given


UNEXPECTED = Answer(599, {"message": "no such call"})


def _server(wire: Wire) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            request = Request(
                self.command,
                parts.path,
                {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()},
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(raw) if raw else None,
            )
            given = wire.answer(request)
            if given is None:
                self.close_connection = True
                return
            text = isinstance(given.body, str)
            data = b"" if given.body is None else given.body.encode() if text else json.dumps(given.body).encode()
            self.send_response(given.status)
            headers = {"content-type": "text/html" if text else "application/json; charset=utf-8", **given.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            if given.status != 204:
                self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            # A client that does not trust the certificate, or went away: that is for the client's test to say.
            return

    return Server(("127.0.0.1", 0), Handler)


def whole_number(text: str, default: int) -> int:
    return int(text) if text.isdigit() and int(text) else default
