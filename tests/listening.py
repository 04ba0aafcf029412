"""An HTTP or HTTPS server on loopback in a thread of its own: what the servers at the wire have in common."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or trusts nobody, is nothing to tell."""


class JsonHandler(BaseHTTPRequestHandler):
    """Answers in JSON over connections that are kept."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    # Else each answer waits 40 ms for the client to acknowledge its headers.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def say(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        """One answer.

        Args:
            body: None for an empty one.
        """
        data = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def listening(
    handler: type[BaseHTTPRequestHandler], certificate: tuple[Path, Path | None] | None = None
) -> Iterator[int]:
    """Serves until the block ends; yields the port.

    Args:
        certificate: A certificate and its key (None: in the same file); None speaks plain HTTP.
    """
    with _Server(("127.0.0.1", 0), handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            # The handshake belongs to the connection's own thread: a client that stalls there holds up nobody else.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
