"""A server on this machine that answers everything in one way, over http or https."""

from __future__ import annotations

import http.server
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.listening import listening

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """A server that answers everything in one way; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler, certificate) as port:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}/snapshot"


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer with a status, a body and headers."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer
