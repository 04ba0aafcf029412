"""Connections to an engine are kept and used again; one that the engine ended meanwhile is made anew."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from reconciler.containers.engine import Engine
from reconciler.containers.place import EnginePlace


class Answers(BaseHTTPRequestHandler):
    """Says which container it was asked for."""

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
        data = json.dumps({"Id": self.path.split("/")[3]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        if self.path.split("/")[3] == self.server.ends_after:
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


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    """One that answers."""
    with Listening(str(tmp_path / "s")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_looking_at_many_containers_takes_one_connection(listening: Listening) -> None:
    """Whatever is asked for."""
    with closing(Engine(EnginePlace(f"unix://{listening.server_address}"))) as engine:
        for name in ("a", "b", "c"):
            report = engine.inspect(name)
            assert report is not None
            assert report["Id"] == name
    assert listening.connections == 1


def test_a_connection_that_the_engine_ended_is_made_anew(listening: Listening) -> None:
    """An engine that was restarted is no reason to fail."""
    listening.ends_after = "a"
    with closing(Engine(EnginePlace(f"unix://{listening.server_address}"))) as engine:
        assert engine.inspect("a") == {"Id": "a"}
        assert listening.ended.wait(60)
        assert engine.inspect("b") == {"Id": "b"}
    assert listening.connections == 2
