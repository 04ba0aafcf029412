"""`kill -9` at every moment of creating, updating and deleting a real service, then a restart: it converges.

Each moment is tried in a process of its own, on the process engine, with the real scoring runtime. Crashes at each call
of a target in memory are in tests/engine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests import prefork

ROOT = Path(__file__).parents[2]

SERVICE = """apiVersion: reconciler/v1
kind: Service
metadata: {name: echo}
spec:
  target: local
  models: [numbers:latest]
  inference: plain
  tests:
    - request: {data: 1}
      expect: {status: 200}
"""
FILES = {
    "models/numbers.yaml": "apiVersion: reconciler/v1\nkind: Model\nmetadata: {name: numbers}\n"
    "spec: {path: models/numbers.txt}\n",
    "inference/plain.yaml": "apiVersion: reconciler/v1\nkind: InferenceConfig\nmetadata: {name: plain}\n"
    "spec: {sourceDirectory: inference/code, entryScript: score.py}\n",
    "inference/code/score.py": "import os\nfrom pathlib import Path\n\n\ndef init():\n    global text\n"
    '    text = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("*.txt")).read_text()\n\n\n'
    "def run(data):\n    return text\n",
}


class Place:
    """A manifest repo and a state directory."""

    def __init__(self, root: Path) -> None:
        self.repo, self.state, self.version = root / "repo", root / "state", 0
        for name, text in FILES.items():
            path = self.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._git("init", "--quiet", "--initial-branch=main")
        self.commit(served=False)

    def _git(self, *words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "gc.auto=0"]
        subprocess.run(["git", *identity, *words], cwd=self.repo, check=True, stdout=subprocess.DEVNULL)

    def commit(self, *, served: bool) -> str:
        """A new model version, with or without the service; returns what the service then answers."""
        self.version += 1
        (self.repo / "models" / "numbers.txt").write_text(f"version {self.version}")
        manifest = self.repo / "services" / "echo.yaml"
        manifest.parent.mkdir(exist_ok=True)
        manifest.unlink(missing_ok=True)
        if served:
            manifest.write_text(SERVICE)
        self._git("add", "--all")
        self._git("commit", "--quiet", "-m", f"version {self.version}")
        return f"version {self.version}"

    def apply(self, moment: int) -> subprocess.CompletedProcess[str]:
        """Applies HEAD in a process that dies at the given moment."""
        words = (str(self.repo), str(self.state), str(moment))
        return prefork.run("tests.crash.child", words, ROOT, os.environ, timeout=180)

    def settle(self) -> None:
        """Applies without dying; everything must be done afterwards."""
        done = self.apply(0)
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(done.stdout.splitlines()) == 1, done.stdout

    def processes(self) -> list[psutil.Process]:
        """Whatever runs out of this state directory."""
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(str(self.state) in word for word in process.info["cmdline"] or ())
        ]

    def come_to_rest(self, count: int) -> bool:
        """Whether so many processes are left once those that drain have ended."""
        deadline = time.monotonic() + 20
        while len(self.processes()) != count and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(self.processes()) == count

    def answer(self) -> str:
        """What the service answers."""
        ports = {
            connection.laddr.port
            for process in self.processes()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert len(ports) == 1
        return httpx.post(f"http://127.0.0.1:{ports.pop()}/score", json={"data": 1}, timeout=10).json()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    place.settle()
    yield place
    for process in place.processes():
        process.kill()
    shutil.rmtree(place.state, ignore_errors=True)


@pytest.mark.long
@pytest.mark.parametrize("what", ["create", "update", "delete"])
def test_killed_at_every_moment_it_converges(place: Place, what: str):
    """After each crash one restart leaves exactly what Git says: nothing twice, nothing orphaned, nothing half-done."""
    moment, reached_the_end = 0, False
    while not reached_the_end:
        moment += 1
        place.commit(served=what != "create")
        place.settle()
        wanted = place.commit(served=what != "delete")

        crashed = place.apply(moment)
        place.settle()

        reached_the_end = crashed.returncode == 0
        assert place.come_to_rest(0 if what == "delete" else 2), moment
        assert what == "delete" or place.answer() == wanted, moment
    assert moment > 10
