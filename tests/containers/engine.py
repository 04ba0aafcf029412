"""The real container engine of the tests, and a small image that stands in for the scoring runtime's."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from reconciler.containers.engine import Engine
from reconciler.containers.place import find_place
from reconciler.core.errors import TargetError

BASE = "python:3.11-slim"
STANDIN = "reconciler-tests/standin:4"
CHECKED = "reconciler-tests/checked:4"
REGISTRY = "127.0.0.1:5000"
REQUIRED = bool(os.environ.get("RECONCILER_TEST_DOCKER"))

SERVER = """
import http.server, json, os, signal, sys, time

def argument(name, default=""):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default

LOOPS = "/tmp/loops"
if os.path.exists(LOOPS):
    print("it loops", flush=True)
    sys.exit(3)
if os.environ.get("FAIL"):
    print("init() raised ValueError: " + os.environ["FAIL"], flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGHUP, signal.SIG_IGN)
BEGAN = time.monotonic()
SLOW = float(os.environ.get("SLOW", "0"))

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        if self.path == "/eat":
            eaten.extend(bytearray(10_000_000) for _ in range(100))
        if self.path == "/loop":
            open(LOOPS, "w").close()
        if self.path in ("/loop", "/die"):
            os._exit(3)
        if self.path == "/sicken":
            sick.append(True)
        ready = time.monotonic() - BEGAN >= SLOW
        said = os.environ.get("ANSWER") or os.environ.get("TOKEN") or "standin"
        body = b"" if self.path.startswith("/health") else said.encode()
        if sick and self.path.startswith("/health"):
            self.send_error(500, "sick")
            return
        self.send_response(200 if ready or not self.path.startswith("/health/ready") else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass

eaten, sick = [], []
print("listening", flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", int(argument("--port", "5001"))), Handler).serve_forever()
"""
DOCKERFILE = f"""
FROM {BASE}
COPY server.py /server.py
USER 65532:65532
ENTRYPOINT ["python3", "/server.py"]
"""


# Told apart from the stand-in by a health check of the engine's, which costs a process a second.
CHECKED_DOCKERFILE = f"""
FROM {STANDIN}
HEALTHCHECK --interval=1s --timeout=5s --retries=1 CMD ["python3", "-c", \\
  "import urllib.request as u; u.urlopen('http://127.0.0.1:5001/health/live', timeout=4)"]
"""


@cache
def _reached() -> str:
    """Why there is no engine; "" if there is one with the base image."""
    engine = Engine(find_place({}, os.environ))
    try:
        engine.version()
        if engine.image(BASE) is None:
            return f"the engine has no image {BASE}: run .ci/docker-engine.sh"
    except TargetError as error:
        return error.message
    finally:
        engine.close()
    return ""


def engine() -> Engine:
    """The engine; a test without one is skipped, or fails where one is required."""
    reason = _reached()
    if reason:
        (pytest.fail if REQUIRED else pytest.skip)(f"no container engine: {reason}")
    return Engine(find_place({}, os.environ))


@cache
def _built(tag: str, dockerfile: str) -> str:
    found = engine()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in (("Dockerfile", dockerfile), ("server.py", SERVER)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    archive.seek(0)
    with found.calls("building the stand-in"):
        for line in found.api.build(fileobj=archive, custom_context=True, tag=tag, rm=True, forcerm=True, decode=True):
            assert "error" not in line, line
    found.close()
    return tag


def standin() -> str:
    """Reference of the stand-in's image, built at first need."""
    return _built(STANDIN, DOCKERFILE)


def checked() -> str:
    """Reference of the stand-in with a health check."""
    standin()
    return _built(CHECKED, CHECKED_DOCKERFILE)


def docker(*words: str) -> str:
    """The docker command, as a hand would use it."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def remove_all(prefix: str) -> None:
    """Removes the containers and volumes whose names begin so; nothing else."""
    for container in docker("ps", "--all", "--quiet", "--filter", f"name=^{prefix}").split():
        subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True, check=False)
    for volume in docker("volume", "ls", "--quiet", "--filter", f"name={prefix}").split():
        if volume.startswith(prefix):
            subprocess.run(["docker", "volume", "rm", volume], capture_output=True, check=False)


class Proxy:
    """A socket of its own to the engine, so that a test can take it away from one driver and from nobody else."""

    def __init__(self, real: str, own: Path) -> None:
        self.url = f"unix://{own}"
        self._real = real
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(own))
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._real)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        """Ends it with all connections through it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open.clear()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
