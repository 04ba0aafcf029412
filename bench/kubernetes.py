"""A Kubernetes cluster: reconciles beside kubectl, the same objects in a namespace of their own.

`KUBECONFIG` names the cluster, RECONCILER_BENCH_IMAGE an image that it can pull, that answers on port 5001 and does not
run as root; everything is made in two new namespaces, which are taken away again.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.planning import git
from bench.row import Row, not_run
from reconciler.core.resources import Mark
from reconciler.core.secrets import seal
from reconciler.manifests import load, resolve
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.form import Secrets, to_object
from reconciler.targets.aks.kinds import KINDS
from reconciler.targets.aks.render import AksRenderer, Images
from tests.containers.ready import Daemon
from tests.manifests.trees import MemoryTree

MANY = int(os.environ.get("RECONCILER_BENCH_SERVICES", "300"))
IMAGE = os.environ.get("RECONCILER_BENCH_IMAGE", "")
ROUNDS = 3
LOOKS = 3
# Of a processor.
AT_REST = 0.05
TARGET = "cluster"
NOOP = f"no-op reconcile of {MANY} services on Kubernetes, in the daemon"
CREATE = f"first apply of {MANY} services, in the daemon, from the commit until all objects are there"


def rows() -> list[Row]:
    """The rows of the table about clusters."""
    why = ""
    if not os.environ.get("KUBECONFIG") or not IMAGE:
        why = "KUBECONFIG and RECONCILER_BENCH_IMAGE name no cluster and image"
    elif shutil.which("kubectl") is None:
        why = "no kubectl on PATH"
    if why:
        return [
            not_run(NOOP, "kubectl diff --server-side", "<= 0.05", why),
            not_run(CREATE, "kubectl apply --server-side", "<= 0.6", why),
        ]
    folder = Path(tempfile.mkdtemp(prefix="reconciler-bench-"))
    try:
        return list(_measured(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Shop:
    """A manifest repo whose services run one image on the cluster."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.target = TARGET
        self.folder = folder
        self.repo = folder / "repo"
        self.environment = {**os.environ, "RECONCILER_STATE_DIR": str(folder / "state"), "NO_COLOR": "1"}
        for path, text in _files(namespace, 1).items():
            self._write(path, text)
        git(self.repo, "init", "--quiet", "--initial-branch=main")
        self._commit("A service, so that the daemon knows the cluster")

    def services(self) -> None:
        """Commits as many services more as are measured."""
        for path, text in _files("", MANY + 1).items():
            if path.startswith("services/"):
                self._write(path, text)
        self._commit("All services")

    def _write(self, path: str, text: str) -> None:
        file = self.repo / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def _commit(self, message: str) -> None:
        git(self.repo, "add", "--all")
        git(self.repo, "commit", "--quiet", "-m", message)


def _files(namespace: str, many: int) -> dict[str, str]:
    head = "apiVersion: reconciler/v1\n"
    service = "kind: Service\nmetadata: {{name: s{n:03d}}}\nspec: {{target: {t}, models: [], inference: ready}}\n"
    return {
        "inference/score.py": "def init(): pass\ndef run(data): return data\n",
        "inference/ready.yaml": f"{head}kind: InferenceConfig\nmetadata: {{name: ready}}\n"
        f"spec: {{image: '{IMAGE}', entryScript: score.py, sourceDirectory: inference}}\n",
        f"targets/{TARGET}.yaml": f"{head}kind: Target\nmetadata: {{name: {TARGET}}}\n"
        f"spec: {{type: aks, aks: {{namespace: {namespace}}}}}\n",
        "reconciler.yaml": f"{head}kind: Defaults\nspec: {{deployment: {{replicas: 1}}}}\n",
        **{f"services/s{n:03d}.yaml": head + service.format(n=n, t=TARGET) for n in range(many)},
    }


def objects(namespace: str, installation: str) -> list[dict[str, Any]]:
    """What is sent to the API for the services that are measured, made as the driver makes it."""
    tree = MemoryTree(_files(namespace, MANY))
    found = resolve(load(tree), tree, {})
    assert found.complete, found.problems
    renderer = AksRenderer(TARGET, Images(""))
    sealing = Secrets(lambda _: "", lambda text: seal(b"bench", text))
    made = []
    for deployment in found.deployments:
        for desired in renderer.render(deployment):
            mark = Mark(installation, deployment.service, "0" * 40, "0" * 64, str(desired.id))
            made.append(to_object(desired.id, desired.spec, mark, sealing))
    return made


def _measured(folder: Path) -> Iterator[Row]:
    cluster = Cluster("bench", kubeconfig=os.environ["KUBECONFIG"])
    versions = json.loads(_kubectl("version", "--output", "json"))
    server = versions["serverVersion"]["gitVersion"]
    nodes = len(_kubectl("get", "nodes", "--output", "name").split())
    where = f"API server {server}, {nodes} nodes, kubectl {versions['clientVersion']['gitVersion']}"
    rounds = []
    for number in range(ROUNDS):
        own = folder / f"round-{number}"
        own.mkdir()
        rounds.append(_round(own, cluster, ours_first=number % 2 == 0))
    cluster.close()
    note = f"{rounds[0].objects:,} objects; {where}"
    reconciled, created = [each.reconciled for each in rounds], [each.created for each in rounds]
    yield _row(NOOP, "kubectl diff --server-side of the same objects", 0.05, reconciled, note)
    yield _row(CREATE, "kubectl apply --server-side of the same objects", 0.6, created, note)


@dataclass(frozen=True)
class Round:
    """Seconds, ours and kubectl's."""

    objects: int
    created: tuple[float, float]
    reconciled: tuple[float, float]


def _round(folder: Path, cluster: Cluster, *, ours_first: bool) -> Round:
    with _namespace() as ours, _namespace() as theirs:
        shop = Shop(folder, ours)
        file = folder / "objects.json"
        listed = objects(theirs, "bench")
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": listed}))
        words = ("--server-side", "--field-manager", "bench", "--filename", str(file))

        def reconciled() -> float:
            with _daemon(shop) as daemon:
                daemon.first(lambda line: line.get("health") == {"Healthy": 1})
                many = {kind: _count(cluster, ours, kind) + wanted for kind, wanted in kinds.items()}
                _at_rest(daemon)
                seconds = _create(shop, cluster, ours, many)
                daemon.first(lambda line: line.get("health") == {"Healthy": MANY + 1})
            return seconds

        def applied() -> float:
            seconds = _seconds("apply", *words)
            _kubectl(
                "wait", "deployment", "--all", "--namespace", theirs, "--for=condition=Available", "--timeout=900s"
            )
            return seconds

        kinds = Counter(str(one["kind"]) for one in listed)
        # One after the other, and each with the pods of the other up: neither shares the cores with the other.
        made = reconciled() if ours_first else 0.0
        theirs_made = applied()
        made = made or reconciled()
        with _daemon(shop, full_look_seconds=1) as daemon:
            looks = statistics.median(daemon.looks(LOOKS))
        compared = _seconds("diff", *words)
    return Round(len(listed), (made, theirs_made), (looks, compared))


@contextmanager
def _daemon(shop: Shop, full_look_seconds: float = 60) -> Iterator[Daemon]:
    """A daemon on what the one before left."""
    daemon = Daemon(shop, full_look_seconds)
    try:
        yield daemon
    finally:
        daemon.process.terminate()
        daemon.process.wait(60)


def _at_rest(daemon: Daemon) -> None:
    """Waits until a daemon has done what it does at its start: a commit finds one that has been there for a while."""
    process = psutil.Process(daemon.process.pid)
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        before = sum(process.cpu_times()[:2])
        time.sleep(1)
        if sum(process.cpu_times()[:2]) - before <= AT_REST:
            return
    raise RuntimeError("the daemon did not come to rest within a minute")


def _create(shop: Shop, cluster: Cluster, namespace: str, many: Mapping[str, int]) -> float:
    """Seconds until all objects are there.

    Args:
        many: How many there are to be, by kind.
    """
    began = time.perf_counter()
    shop.services()
    limit = began + 900
    missing = sorted(many)
    while time.perf_counter() < limit:
        # One kind at a time, and rarely while many are missing: what counting costs, the other side does not pay.
        there, wanted = _count(cluster, namespace, missing[-1]), many[missing[-1]]
        if there >= wanted:
            missing.pop()
            if not missing:
                return time.perf_counter() - began
            continue
        time.sleep(min(0.5, max(0.05, 2.0 * (wanted - there) / wanted)))
    raise RuntimeError("the objects did not come within 15 minutes")


def _count(cluster: Cluster, namespace: str, kind: str) -> int:
    """How many objects of a kind there are; the API counts them, so that asking costs it little."""
    page = cluster.call("GET", KINDS[kind].path(namespace), f"counting {kind}", {"limit": "1"})
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount") or 0)


def _seconds(*words: str) -> float:
    began = time.perf_counter()
    _kubectl(*words)
    return time.perf_counter() - began


def _row(what: str, against: str, goal: float, pairs: list[tuple[float, float]], note: str) -> Row:
    ratios = [ours / theirs for ours, theirs in pairs]
    ratio = statistics.median(ratios)
    seconds = " against ".join(f"{statistics.median(side):.2f} s" for side in zip(*pairs, strict=True))
    shown = f"{ratio:.3f} [{min(ratios):.3f}..{max(ratios):.3f}]"
    return Row(what, against, f"<= {goal}", shown, ratio <= goal, f"{seconds}; {note}")


@contextmanager
def _namespace() -> Iterator[str]:
    name = f"reconciler-bench-{secrets.token_hex(3)}"
    _kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        _kubectl("delete", "namespace", name, "--timeout=600s")


def _kubectl(*words: str) -> str:
    done = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(words[:3])}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


if __name__ == "__main__":
    for row in rows():
        print(row)
