"""An HTTP or HTTPS server on loopback in a thread of its own: what the servers at the wire have in common."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or trusts nobody, is nothing to tell."""


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
