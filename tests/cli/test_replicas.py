"""Two replicas of the daemon as processes, with one state and one Lease between them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import commit, environment, git
from tests.targets.aks.standin import Standin
from tests.targets.local.harness import free_port

pytestmark = pytest.mark.long

RECONCILER = Path(sys.executable).with_name("reconciler")
HEAD = "apiVersion: reconciler/v1\n"
FILES = {
    "inference/score.py": "def init(): pass\ndef run(data): return data\n",
    "inference/ready.yaml": f"{HEAD}kind: InferenceConfig\nmetadata: {{name: ready}}\n"
    "spec: {image: 'registry.example/ready:1', entryScript: score.py, sourceDirectory: inference}\n",
    "targets/cluster.yaml": f"{HEAD}kind: Target\nmetadata: {{name: cluster}}\n"
    "spec: {type: aks, aks: {namespace: ml}}\n",
}


def service(name: str) -> dict[str, str]:
    """A service's document."""
    spec = "{target: cluster, models: [], inference: ready}"
    return {f"services/{name}.yaml": f"{HEAD}kind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n"}


class Replica:
    """`reconciler run`, with its log."""

    def __init__(self, log: Path, repo: Path, variables: dict[str, str]) -> None:
        self._log = log
        self.address = f"127.0.0.1:{free_port()}"
        command = [RECONCILER, "run", "--listen", self.address, "--log-format", "json"]
        with log.open("w") as stderr:
            self.process = subprocess.Popen(command, cwd=repo, stderr=stderr, env=variables)

    def told(self, event: str) -> dict[str, Any]:
        """The first line of its log about something, once there is one."""
        return self.until(lambda: next((line for line in self._lines() if line["event"] == event), None))

    def until(self, condition: Callable[[], Any]) -> Any:
        """What a condition returns as soon as that is true; fails if this one ends before."""
        limit = time.monotonic() + 60
        while not (value := condition()):
            assert self.process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < limit, self._log.read_text()[-2000:]
            time.sleep(0.02)
        return value

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}")]


@pytest.fixture
def start(standin: Standin, tmp_path: Path) -> Iterator[Callable[[], Replica]]:
    """Starts replicas, and ends those that are left."""
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps(standin.kubeconfig))
    lease = {"RECONCILER_KUBERNETES__LEADER_LEASE__NAMESPACE": "ml", "KUBECONFIG": str(config)}
    variables = environment(tmp_path / "state", lease)
    repo = tmp_path / "repo"
    write(repo, FILES | service("one"))
    git(repo, "init", "--quiet", "--initial-branch=main")
    commit(repo)
    started: list[Replica] = []

    def one() -> Replica:
        started.append(Replica(tmp_path / f"log{len(started)}", repo, variables))
        return started[-1]

    yield one
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def standin() -> Iterator[Standin]:
    """An empty cluster with the namespace `ml`."""
    made = Standin("ml")
    yield made
    made.close()


def write(repo: Path, files: dict[str, str]) -> None:
    """Writes files of the repo."""
    for path, text in files.items():
        file = repo / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_one_applies_and_the_next_goes_on(
    start: Callable[[], Replica], standin: Standin, tmp_path: Path, ending: signal.Signals
) -> None:
    """The one that ends hands over at once, the one that is killed after the Lease's time; the next one applies."""

    def deployments() -> list[str]:
        return sorted(name for kind, _, name in list(standin.objects) if kind == "deployments")

    first = start()
    first.told("daemon started")
    first.until(lambda: deployments() == ["one"])
    second = start()
    second.told("standing by")
    assert httpx.get(f"http://{second.address}/api/status").json()["standby"]
    assert httpx.get(f"http://{second.address}/readyz").status_code == 200
    first.process.send_signal(ending)
    assert first.process.wait(30) == (0 if ending is signal.SIGTERM else -ending)
    second.told("daemon started")
    write(tmp_path / "repo", service("two"))
    commit(tmp_path / "repo")
    second.until(lambda: deployments() == ["one", "two"])
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(30) == 0
    (lease,) = [standin.show(key) for key in standin.objects if key[0] == "leases"]
    assert not lease["spec"].get("holderIdentity")
