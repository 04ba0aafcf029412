"""An ingestion endpoint of Application Insights on loopback: HTTPS, answering as the service does.

The answer's form is that of https://github.com/Azure/azure-rest-api-specs (monitor, `TrackResponse`), and what
azure-monitor-opentelemetry-exporter 1.0.0b58 reads of it.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DEADLINE = 60.0
KEY = "11111111-2222-3333-4444-555555555555"


class Ingestion:
    """What arrived, in order.

    Args:
        certificate, key: PEM files, the first of which clients trust.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.items: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.raw = b""
        self.more = threading.Condition()
        self.asked = threading.Event()
        # Cleared, an answer waits until it is set.
        self.open = threading.Event()
        self.open.set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self._certificate = certificate

    def environment(self, key: str = KEY) -> dict[str, str]:
        """What makes a scoring runtime send its telemetry here."""
        return switched_on(f"https://127.0.0.1:{self.server.server_address[1]}/", self._certificate, key)

    def arrived(self, count: int) -> None:
        """Wait until that many items have arrived."""
        with self.more:
            assert self.more.wait_for(lambda: len(self.items) >= count, DEADLINE), self.items

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The items of a kind (`Request`, `Message`, `Exception`)."""
        return [item for item in self.items if item["data"]["baseType"].startswith(kind)]


def switched_on(endpoint: str, certificate: Path, key: str = KEY) -> dict[str, str]:
    """Variables of a scoring runtime that is to send telemetry to an address."""
    return {
        "AML_APP_INSIGHTS_ENABLED": "true",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={key};IngestionEndpoint={endpoint}",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "REQUESTS_CA_BUNDLE": str(certificate),
        "NO_PROXY": "127.0.0.1",
    }


@contextmanager
def answering(certificate: Path, key: Path) -> Iterator[Ingestion]:
    """An endpoint that answers until the end of the block."""
    made = Ingestion(certificate, key)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.open.set()
    made.server.shutdown()
    thread.join(DEADLINE)
    made.server.server_close()


def _handler(ingestion: Ingestion) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            ingestion.asked.set()
            ingestion.open.wait(DEADLINE)
            items = json.loads(body)
            ingestion.paths.add(self.path)
            ingestion.raw += str(self.headers).encode() + body
            with ingestion.more:
                ingestion.items += items
                ingestion.more.notify_all()
            answer = json.dumps({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}).encode()
            try:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                self.close_connection = True  # the exporter did not wait

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
