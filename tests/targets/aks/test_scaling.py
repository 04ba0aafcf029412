"""Scaling on requests under way, where the target has what it takes; on CPU otherwise."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.errors import TerminalError
from reconciler.core.resources import Completeness, Health
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.driver import AksDriver
from reconciler.targets.aks.kinds import KINDS
from tests.contract.harness import INSTALLATION, Bench
from tests.targets.aks.samples import IMAGES, deployment, one, render
from tests.targets.aks.standin import Standin
from tests.targets.aks.test_driver import SECRETS

KEDA = {"autoscaler": "keda", "prometheusUrl": "http://prometheus.monitoring:9090"}
ADAPTER = {"autoscaler": "prometheusAdapter"}


@pytest.mark.parametrize(
    ("at_once", "share", "value", "words"),
    [(1, 70, "700m", "0.7 requests"), (4, 75, "3", "3 requests"), (2, 50, "1", "1 request under")],
)
def test_the_adapter_gives_what_each_replica_has_under_way(at_once: int, share: int, value: str, words: str) -> None:
    """The target is the share of the requests that a replica takes at once; the pods say where they are asked."""
    common, aks = {"maxConcurrentRequests": at_once}, {"autoscale": {"targetUtilization": share}}
    made = render(deployment(common, aks, ADAPTER))
    scaler = one(made, "HorizontalPodAutoscaler")
    (metric,) = scaler.spec["spec"]["metrics"]
    assert metric == {
        "type": "Pods",
        "pods": {
            "metric": {"name": "reconciler_serving_in_flight"},
            "target": {"type": "AverageValue", "averageValue": value},
        },
    }
    assert words in scaler.summary
    template = one(made, "Deployment").spec["spec"]["template"]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "5001"
    assert "--metrics-public" in template["spec"]["containers"]["scoring"]["args"]


def test_keda_asks_prometheus() -> None:
    """One object that KEDA makes an autoscaler of; none of Kubernetes' own; only this service's pods are counted."""
    made = render(deployment({}, {"autoscale": {"minReplicas": 2, "maxReplicas": 286}}, KEDA))
    assert not [each for each in made if each.id.kind == "HorizontalPodAutoscaler"]
    spec = one(made, "ScaledObject").spec["spec"]
    assert (spec["scaleTargetRef"], spec["minReplicaCount"], spec["maxReplicaCount"]) == ({"name": "diabetes"}, 2, 286)
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["threshold"] == "0.7"
    assert trigger["metadata"]["serverAddress"] == KEDA["prometheusUrl"]
    pods = re.search('pod=~"([^"]+)"', trigger["metadata"]["query"])
    assert pods is not None
    assert re.fullmatch(pods[1], "diabetes-7d4b9c6f5-x2k8p")
    assert not re.fullmatch(pods[1], "diabetes-two-7d4b9c6f5-x2k8p")
    assert 'namespace="ml"' in trigger["metadata"]["query"]


@pytest.mark.parametrize("target", [KEDA, ADAPTER])
def test_nobody_asks_where_nothing_is_scaled(target: dict[str, str]) -> None:
    """A number of replicas: no annotation, and metrics need a key as ever."""
    made = render(deployment({"replicas": 2}, {}, target))
    template = one(made, "Deployment").spec["spec"]["template"]
    assert "annotations" not in template["metadata"]
    assert "--metrics-public" not in template["spec"]["containers"]["scoring"]["args"]
    assert not [each for each in made if each.id.kind in ("ScaledObject", "HorizontalPodAutoscaler")]


def opened(standin: Standin, folder: Path, *kinds: str) -> AksDriver:
    """A driver of a cluster that has some kinds more."""
    config = folder / "kubeconfig"
    config.write_text(json.dumps(standin.kubeconfig))
    cluster = Cluster("cluster", kubeconfig=str(config))
    return AksDriver("cluster", INSTALLATION, cluster, SECRETS, IMAGES, "ml", kinds)


def test_it_comes_and_goes_with_keda(standin: Standin, tmp_path: Path) -> None:
    """Made, left alone, said what is wrong with it, and taken away by a driver whose target scales on CPU again."""
    standin.keda = True
    driver = opened(standin, tmp_path, "ScaledObject")
    scaled = one(render(deployment(target=KEDA)), "ScaledObject")
    wanted = replace(scaled, depends_on=())
    bench = Bench(driver)
    bench.settle([wanted])
    key = ("scaledobjects", "ml", "diabetes")
    standin.state(key, {"conditions": [{"type": "Ready", "status": "False", "message": "no Prometheus"}]})
    seen = bench.look(wanted.id)
    assert seen is not None
    assert (seen.health, seen.reason) == (Health.DEGRADED, "KEDA cannot scale by it: no Prometheus")
    driver.close()
    bench.driver = opened(standin, tmp_path)
    bench.settle([])
    assert key not in standin.objects
    bench.driver.close()


def test_a_cluster_without_keda(standin: Standin, tmp_path: Path) -> None:
    """All there is is seen; only what KEDA would bring cannot be made, and that is said."""
    driver = opened(standin, tmp_path, "ScaledObject")
    scaled = one(render(deployment(target=KEDA)), "ScaledObject")
    assert driver.observe([scaled.id]).completeness is Completeness.COMPLETE
    bench = Bench(driver)
    with pytest.raises(TerminalError, match="does not know such objects") as caught:
        bench.reconcile([replace(scaled, depends_on=())])
    assert "KEDA" in caught.value.hint
    driver.close()


def test_rights_speak_of_keda_only_where_it_is(standin: Standin, tmp_path: Path) -> None:
    """Nobody needs to allow what no cluster of theirs has."""
    resource = KINDS["ScaledObject"].resource
    driver = opened(standin, tmp_path)
    assert resource not in {right.resource for right in driver.rights([])}
    driver = opened(standin, tmp_path, "ScaledObject")
    used = [one(render(deployment(target=KEDA)), "ScaledObject").id]
    assert {"list", "patch"} <= {right.verb for right in driver.rights(used) if right.resource == resource}
