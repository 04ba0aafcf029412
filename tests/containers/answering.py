"""A socket that answers as a container engine does, for what needs no containers."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

VERSION = "99.1"


class Answers(BaseHTTPRequestHandler):
    """Says which container it was asked for, or its version."""

    protocol_version = "HTTP/1.1"
    server: Listening

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def address_string(self) -> str:
        """Nobody has an address here."""
        return ""

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        asked = self.path.split("/")[3:4]
        data = json.dumps({"Id": asked[0]} if asked else {"Version": VERSION}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        if asked == [self.server.ends_after]:
            # Without a word, as an engine that ends.
            self.close_connection = True


class Listening(socketserver.ThreadingUnixStreamServer):
    """An engine's socket."""

    daemon_threads = True
    connections = 0
    ends_after = ""

    def __init__(self, address: str) -> None:
        self.ended = threading.Event()
        super().__init__(address, Answers)

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection."""
        super().shutdown_request(request)
        self.ended.set()


@contextmanager
def engine_socket(path: Path) -> Iterator[Listening]:
    """Answers until the block ends."""
    with Listening(str(path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
