"""On a real cluster with real nodes: a service that is scored all the time loses no request, whatever is done to it.

KUBECONFIG names the cluster, RECONCILER_LIVE_REGISTRY a registry that the container engine here pushes to and the nodes
pull from. The requests come from a pod beside the service: each time one on a new connection, one on a kept one.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.errors import TargetError
from reconciler.targets.aks.api import Cluster
from tests.cli.conftest import Run, commit

REGISTRY = os.environ.get("RECONCILER_LIVE_REGISTRY", "")
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not REGISTRY, reason="RECONCILER_LIVE_REGISTRY names a registry that the cluster pulls from"),
]
# Prints `good bad` after each round of both requests, and what a bad one was.
LOADER = """
import http.client, os, time
host, key = os.environ["HOST"], os.environ["KEY"]
body = '{"data": [[0.04, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0.0, 0.02, -0.02]]}'
good = bad = 0
kept = None
while True:
    for keep in (True, False):
        connection = (kept if keep else None) or http.client.HTTPConnection(host, 80, timeout=30)
        try:
            connection.request("POST", "/score", body, {"Authorization": "Bearer " + key})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
            good += 1
        except (OSError, http.client.HTTPException) as error:
            bad += 1
            print("lost:", "kept" if keep else "new", type(error).__name__, error, flush=True)
            answer = None
        if keep:
            kept = connection if answer is not None and answer.headers["connection"] != "close" else None
        else:
            connection.close()
    print(good, bad, flush=True)
    time.sleep(0.02)
"""


class Live:
    """The cluster, a namespace of it, and what a test asks there."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.namespace = f"reconciler-{secrets.token_hex(4)}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        cluster.call("POST", "/api/v1/namespaces", "making a namespace", None, body)

    def get(self, path: str) -> dict[str, Any]:
        return self.cluster.call("GET", path.replace("NS", self.namespace), "reading an object")

    def load(self, image: str, host: str, key: str) -> None:
        """Begins to score."""
        container = {
            "name": "loader",
            "image": image,
            "command": ["python", "-c", LOADER],
            "env": [{"name": "HOST", "value": host}, {"name": "KEY", "value": key}],
        }
        pod = {"metadata": {"name": "loader"}, "spec": {"containers": [container], "restartPolicy": "Never"}}
        body = {"apiVersion": "v1", "kind": "Pod", **pod}
        self.cluster.call("POST", f"/api/v1/namespaces/{self.namespace}/pods", "starting the load", None, body)

    def lines(self, most: int) -> list[str]:
        """The last lines that the load printed; none before it has begun."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/loader/log"
        try:
            return list(self.cluster.lines(path, "the load's log", {"tailLines": str(most)}, 30.0))
        except TargetError:
            return []

    def scored(self, more: int) -> int:
        """Waits until so many more requests were answered; all that were."""
        deadline, goal = time.monotonic() + 120, -1
        while time.monotonic() < deadline:
            counts = [line.split()[0] for line in self.lines(5) if line[:1].isdigit()]
            if counts:
                goal = int(counts[-1]) + more if goal < 0 else goal
                if int(counts[-1]) >= goal:
                    return int(counts[-1])
            time.sleep(0.2)  # between two looks at another machine
        raise AssertionError(f"no requests are answered: {self.lines(10)}")


@pytest.fixture
def live() -> Iterator[Live]:
    """A namespace that goes again."""
    cluster = Cluster("live", kubeconfig=os.environ["KUBECONFIG"])
    found = Live(cluster)
    yield found
    cluster.call("DELETE", f"/api/v1/namespaces/{found.namespace}", "deleting the namespace")
    cluster.close()


def test_no_request_is_lost_by_what_is_done_to_a_service(
    live: Live, reconciler: Run, quickstart: Path, tmp_path: Path
) -> None:
    """Updated, scaled up and down, its other key changed, updated by a canary: each request is answered with 200."""
    repo = tmp_path / "repo"
    shutil.copytree(quickstart, repo)
    head = "apiVersion: reconciler/v1\nkind: Target\nmetadata: {name: cluster}\n"
    (repo / "targets").mkdir()
    (repo / "targets/cluster.yaml").write_text(f"{head}spec: {{type: aks, aks: {{namespace: {live.namespace}}}}}\n")
    service = repo / "services/diabetes.yaml"
    document = service.read_text().replace("target: local", "target: cluster")

    def run(*words: str) -> str:
        variables = {"RECONCILER_IMAGES__REGISTRY": REGISTRY, "KUBECONFIG": os.environ["KUBECONFIG"]}
        done = reconciler(*words, cwd=repo, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(mode: str, aks: str) -> None:
        block = f"  deployment: {{memoryGb: 0.3, environmentVariables: {{MODE: {mode}}}, aks: {{{aks}}}}}\n"
        service.write_text(document + block)
        commit(repo)
        run("apply", "--yes")

    apply("one", "replicas: 2")
    keys = json.loads(run("keys", "diabetes", "--show", "-o", "json"))["keys"]
    made = live.get("/apis/apps/v1/namespaces/NS/deployments/diabetes")
    reached = live.get("/api/v1/namespaces/NS/services/diabetes")
    image = made["spec"]["template"]["spec"]["containers"][0]["image"]
    live.load(image, reached["spec"]["clusterIP"], keys["secondary"]["key"])
    live.scored(20)
    apply("two", "replicas: 2")
    apply("two", "replicas: 4")
    apply("two", "replicas: 1")
    run("keys", "diabetes", "--regenerate", "primary")
    apply("three", "replicas: 2, strategy: canary, canary: {steps: [50], stepSeconds: 5}")
    live.scored(50)
    told = live.lines(100_000)
    assert [line for line in told if line.startswith("lost")] == []
    assert told[-1].endswith(" 0")
