"""What scales a service, and on what: CPU by Kubernetes alone, requests under way by what the target says it has. Pure.

Sources: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/,
https://keda.sh/docs/latest/reference/scaledobject-spec/ and https://keda.sh/docs/latest/scalers/prometheus/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.core.dataclass import dataclass
from reconciler.core.deployment import Deployment
from reconciler.core.values import Spec, Value
from reconciler.targets.aks.kinds import APP_NAME, MANAGED_BY, MANAGER, PORT
from reconciler.targets.aks.quantity import canonical

# A gauge of the scoring runtime: requests that are not yet answered, those that wait for their turn among them.
METRIC = "reconciler_serving_in_flight"


@dataclass(frozen=True, slots=True)
class Scaling:
    """The object that scales a service.

    Args:
        words: What it does, for the plan.
    """

    kind: str
    spec: Spec
    words: str


def by_requests(deployment: Deployment) -> bool:
    """Whether requests under way count; an image that was not built here tells nobody of them."""
    scaled = deployment.settings.block["autoscale"]["enabled"] and not deployment.image.image
    return bool(scaled) and deployment.target.block["autoscaler"] != "cpu"


def told(deployment: Deployment) -> dict[str, Value]:
    """Annotations by which Prometheus finds what to ask: the convention of its own and of most installations."""
    if not by_requests(deployment):
        return {}
    return {
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(PORT),
            "prometheus.io/path": "/metrics",
        }
    }


def of(deployment: Deployment, namespace: str) -> Scaling:
    """Up at once, down after a minute, as Azure ML's autoscaler does."""
    asked: Mapping[str, Any] = deployment.settings.block["autoscale"]
    least, most, share = int(asked["minReplicas"]), int(asked["maxReplicas"]), int(asked["targetUtilization"])
    count = f"{least} to {most} replicas"
    if not by_requests(deployment):
        utilization = {"type": "Utilization", "averageUtilization": share}
        metric: dict[str, Value] = {"type": "Resource", "resource": {"name": "cpu", "target": utilization}}
        return _kubernetes(deployment, metric, f"{count} at {share} % of the requested CPU")
    # Thousandths of a request: what a replica works on at once, by the share of it that is to be busy.
    thousandths = deployment.settings.max_concurrent_requests * share * 10
    each = f"{thousandths / 1000:g} request{'' if thousandths == 1000 else 's'} under way in each"
    if deployment.target.block["autoscaler"] == "keda":
        return _keda(deployment, namespace, f"{thousandths / 1000:g}", f"{count} at {each}, by KEDA")
    value = {"type": "AverageValue", "averageValue": canonical(f"{thousandths}m")}
    metric = {"type": "Pods", "pods": {"metric": {"name": METRIC}, "target": value}}
    return _kubernetes(deployment, metric, f"{count} at {each}, by the Prometheus adapter")


def _kubernetes(deployment: Deployment, metric: dict[str, Value], words: str) -> Scaling:
    asked: Mapping[str, Any] = deployment.settings.block["autoscale"]
    spec: dict[str, Value] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.service},
        "minReplicas": int(asked["minReplicas"]),
        "maxReplicas": int(asked["maxReplicas"]),
        "metrics": [metric],
        "behavior": _behavior(int(asked["maxReplicas"])),
    }
    return Scaling("HorizontalPodAutoscaler", {"metadata": _metadata(deployment), "spec": spec}, words)


def _keda(deployment: Deployment, namespace: str, threshold: str, words: str) -> Scaling:
    asked: Mapping[str, Any] = deployment.settings.block["autoscale"]
    # Names of pods: the Deployment's, its version, five characters; so that `a` does not count what `a-b` does.
    # Those of a canary count, as they do for an autoscaler that finds pods by the service's label.
    pods = f"{deployment.service}([.]canary)?-[a-z0-9]+-[a-z0-9]{{5}}"
    trigger: dict[str, Value] = {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": str(deployment.target.block["prometheusUrl"]),
            "query": f'sum({METRIC}{{namespace="{namespace}",pod=~"{pods}"}})',
            "threshold": threshold,
        },
    }
    spec: dict[str, Value] = {
        "scaleTargetRef": {"name": deployment.service},
        "minReplicaCount": int(asked["minReplicas"]),
        "maxReplicaCount": int(asked["maxReplicas"]),
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(int(asked["maxReplicas"]))}},
        "triggers": [trigger],
    }
    return Scaling("ScaledObject", {"metadata": _metadata(deployment), "spec": spec}, words)


def _behavior(most: int) -> dict[str, Value]:
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": most, "periodSeconds": 15}],
        },
        "scaleDown": {"stabilizationWindowSeconds": 60},
    }


def _metadata(deployment: Deployment) -> dict[str, Value]:
    return {"labels": {MANAGED_BY: MANAGER, APP_NAME: deployment.service}}
