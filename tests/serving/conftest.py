"""Real server processes for the tests of the scoring runtime, started and told what to do as a supervisor does."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import certificate_in

DEADLINE = 60.0
TREE = Path(__file__).resolve().parents[2]


@dataclass
class Server:
    """A server process with the control socket's other end, and an HTTP client to it."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    log: Path
    tls: bool = False
    address: str = ""
    uds: Path | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    _buffer: bytes = b""
    _client: httpx.Client | None = None

    @property
    def client(self) -> httpx.Client:
        """A client with keep-alive connections to this server."""
        if self._client is None:
            if self.uds is not None:
                transport = httpx.HTTPTransport(uds=str(self.uds))
                self._client = httpx.Client(transport=transport, base_url="http://worker", timeout=DEADLINE)
            else:
                scheme = "https" if self.tls else "http"
                self._client = httpx.Client(base_url=f"{scheme}://{self.address}", timeout=DEADLINE, verify=False)
        return self._client

    @property
    def host_port(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    def connect(self) -> socket.socket:
        """A plain connection to this server."""
        return socket.create_connection(self.host_port, timeout=DEADLINE)

    def event(self, name: str) -> dict[str, Any]:
        """Wait for an event on the control socket."""
        deadline = time.monotonic() + DEADLINE
        while True:
            found = next((event for event in self.events if event["event"] == name), None)
            if found is not None:
                return found
            readable, _, _ = select.select([self.control], [], [], max(0.0, deadline - time.monotonic()))
            data = self.control.recv(65536) if readable else b""
            assert data, f"no event {name}, only {self.events}; log:\n{self.log.read_text()}"
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            self.events += [json.loads(line) for line in lines]

    def order(self, what: str) -> None:
        """Send an order over the control socket."""
        self.control.sendall(json.dumps({"do": what}).encode() + b"\n")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end. Returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def logged(self, text: str) -> None:
        """Wait until the log holds a text."""
        until(lambda: text in self.log.read_text(), f"{text!r} in the log:\n{self.log.read_text()}")


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition of another process, within the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        select.select([], [], [], 0.01)


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers: `serve(script text, *arguments, wait="ready", env=..., files=..., pass_fds=...)`."""
    started: list[Server] = []

    def start(
        script: str,
        *arguments: str,
        wait: str | None = "ready",
        env: dict[str, str] | None = None,
        command: list[str] | None = None,
        port: int | None = 0,
        pass_fds: tuple[int, ...] = (),
        tls: bool = False,
        uds: Path | None = None,
    ) -> Server:
        number = len(started)
        source = tmp_path / f"source{number}"
        source.mkdir(exist_ok=True)
        (source / "score.py").write_text(script)
        ours, theirs = socket.socketpair()
        log = tmp_path / f"server{number}.log"
        where = [] if port is None else [f"--port={port}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(command or [sys.executable, "-m", "reconciler.serving"]),
                    "--entry=score.py",
                    f"--source-dir={source}",
                    f"--control-fd={theirs.fileno()}",
                    *where,
                    *([f"--uds={uds}"] if uds is not None else []),
                    *arguments,
                ],
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), *pass_fds),
                env={**clean_environment(), **(env or {})},
                cwd=tmp_path,
            )
        theirs.close()
        server = Server(process, ours, log, tls, uds=uds)
        started.append(server)
        if wait is not None:
            server.address = server.event("listening")["address"]
            server.event(wait)
            assert server.client is not None  # made here, not by several threads at once
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(DEADLINE)
        if server._client is not None:
            server._client.close()
        server.control.close()


def clean_environment() -> dict[str, str]:
    """This process' environment without the variables that the server reads."""
    ours = ("AML_", "APPLICATIONINSIGHTS_", "AZUREML_", "SERVICE_", "SCORING_", "WORKER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture
def without_httptools(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Environments by wire: `fast` as it is, `plain` where neither httptools nor uvloop can be imported."""
    folder = tmp_path / "without"
    folder.mkdir()
    for name in ("httptools", "uvloop"):
        (folder / f"{name}.py").write_text(f"raise ImportError('no {name} here')")
    return {"fast": {}, "plain": {"PYTHONPATH": str(folder)}}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    return certificate_in(tmp_path_factory.mktemp("tls"))
