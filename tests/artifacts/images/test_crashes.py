"""`kill -9` while an image is built and while it is pushed: the next run does the rest, and nothing is left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.containers.engine import REGISTRY, docker
from tests.containers.shop import DATA, RECONCILER, Shop
from tests.containers.waiting import until

pytestmark = pytest.mark.long

SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return 'well'\n"
STEP = """RUN python3 -c "import urllib.request as u; u.build_opener(u.ProxyHandler({{}})).open('http://{gate}/v2/')"
"""


class Gate:
    """Passes connections on to an address, and holds the first one that says certain words until it is opened.

    Args:
        host: Address of this machine to listen on.
        words: What the bytes of a connection are searched for.
    """

    def __init__(self, host: str, to: tuple[str, int], words: bytes) -> None:
        self.held, self._open, self._words, self._to = threading.Event(), threading.Event(), words, to
        self._listener = socket.create_server((host, 0))
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            threading.Thread(target=self._copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, False), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if asking and self._words in data:
                    self.held.set()
                    self._open.wait(120)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def open(self) -> None:
        """Lets everything pass from now on."""
        self._open.set()

    def close(self) -> None:
        """Ends it."""
        self._open.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A service without packages or models, whose image is soon built."""
    made = Shop(tmp_path)
    inference = made.folder / "inference" / "sklearn.yaml"
    kept = [line for line in inference.read_text().splitlines() if "requirementsFile" not in line]
    inference.write_text("\n".join(kept) + "\n")
    made.write("inference/sklearn/score.py", f"{SCRIPT}\n# {made.target}\n")
    service = made.folder / "services" / "diabetes.yaml"
    text = service.read_text().replace("[diabetes-ridge:latest]", "[]").replace("shape: [1]", "equals: well")
    service.write_text(text)
    made.commit("Plain")
    yield made
    made.close()


def killed(shop: Shop, held: threading.Event) -> None:
    """Applies until something is held, and kills the command there."""
    command = [str(RECONCILER), "apply", "--yes", "--settings", str(shop.settings)]
    environment = {**os.environ, "RECONCILER_STATE_DIR": str(shop.state)}
    said = shop.folder.parent / "said"
    with said.open("w") as log:
        process = subprocess.Popen(command, cwd=shop.folder, env=environment, stdout=log, stderr=log)
    try:
        while not held.wait(0.5):
            assert process.poll() is None, said.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_kill_during_a_build(shop: Shop) -> None:
    """The engine stops building, its container goes, and the next run builds the image and serves it."""
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}") or "172.17.0.1"
    host, _, port = REGISTRY.partition(":")
    gate = Gate(gateway, (host, int(port)), b"GET /v2/")
    try:
        shop.write("inference/sklearn/steps", STEP.format(gate=gate.address))
        inference = shop.folder / "inference" / "sklearn.yaml"
        inference.write_text(inference.read_text() + "  extraDockerFileSteps: steps\n")
        shop.commit("A step that waits")
        killed(shop, gate.held)
        running = lambda: docker("ps", "--all", "--no-trunc", "--format", "{{.Command}}")  # noqa: E731
        until(lambda: gate.address not in running(), "the end of the build")
        gate.open()
        shop.apply()
        assert json.loads(shop.run("score", "diabetes", "--data", DATA)) == "well"
    finally:
        gate.close()


def test_a_kill_during_a_push(shop: Shop) -> None:
    """The next run pushes what was built, without building it again, and records its digest."""
    host, _, port = REGISTRY.partition(":")
    gate = Gate(host, (host, int(port)), b"POST /v2/")
    try:
        shop.settings.write_text(json.dumps({"images": {"registry": f"{gate.address}/{shop.target}"}}))
        killed(shop, gate.held)
        gate.open()
        shop.apply()
        (record,) = (shop.state / "images").glob("*/image.json")
        assert json.loads(record.read_text())["digest"].startswith("sha256:")
        assert "this content was built already" in (record.parent / "build.log").read_text()
        name = record.parent.name.partition(":")[0]
        url = f"http://{REGISTRY}/v2/{shop.target}/{name}/tags/list"
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert json.loads(answer.read())["tags"] == [record.parent.name.partition(":")[2]]
    finally:
        gate.close()
