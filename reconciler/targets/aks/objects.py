"""What each object of a service says, in the driver's normal form: the API's own words, keyed lists as maps. Pure.

What is asked for: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (restricted),
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ (probes, the order of termination).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.deployment import Deployment
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import Spec, Unknown, Value
from reconciler.targets.aks import scaling
from reconciler.targets.aks.kinds import APP_NAME, CONTAINER, MANAGED_BY, MANAGER, PORT, PREFIX, SERVICE
from reconciler.targets.aks.quantity import canonical

UID = 65532
KEYS_FOLDER = "/run/reconciler"
KEYS_FILE = "keys.json"
# Longer than it takes until no load balancer in the cluster sends to a pod that is about to end.
BEFORE_STOP_SECONDS = 5
# Clients that keep connections, ingresses for one, learn from an answer that theirs ends; a cut one loses a request.
STOP_IDLE_SECONDS = 5
# What pulling an image and finding a node may take before a roll-out counts as failed.
BEFORE_START_SECONDS = 300
GPU = "nvidia.com/gpu"

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_AZURE = "service.beta.kubernetes.io/azure"


def labels(service: str) -> dict[str, Value]:
    """What everything of a service carries."""
    return {MANAGED_BY: MANAGER, APP_NAME: service}


def selector(service: str) -> dict[str, Value]:
    """What finds the pods of a service."""
    return {SERVICE: service}


def variables_secret(service: str) -> str:
    """Name of the Secret with variables: a dot, since no service's name has one."""
    return f"{service}.variables"


def keys_secret(service: str) -> str:
    """Name of the Secret with the digests of keys."""
    return f"{service}.keys"


def tls_secret(service: str) -> str:
    """Name of the Secret with certificate and key."""
    return f"{service}.tls"


def pull_secret(service: str) -> str:
    """Name of the Secret with credentials of registries."""
    return f"{service}.pull"


def secret_variables(deployment: Deployment) -> dict[str, SecretRef | Secret]:
    """Variables that are secrets."""
    found = deployment.settings.environment_variables.items()
    return {name: value for name, value in sorted(found) if not isinstance(value, str)}


def service_account(deployment: Deployment, pull: Sequence[str]) -> Spec:
    """Nothing may be asked of the API with it; images are pulled with its secrets."""
    spec: dict[str, Value] = {
        "metadata": {"labels": labels(deployment.service)},
        "automountServiceAccountToken": False,
    }
    if pull:
        spec["imagePullSecrets"] = {name: {} for name in sorted(pull)}
    return spec


def keys(deployment: Deployment) -> Spec:
    """The digests of a service's keys; the keys themselves do not go to the cluster."""
    auth = deployment.auth
    slots = {"primary": auth.primary, "secondary": auth.secondary}
    return {
        "metadata": {"labels": labels(deployment.service)},
        "type": "Opaque",
        "auth": {"enabled": True, "keys": {slot: key for slot, key in slots.items() if key is not None}},
    }


def opaque(deployment: Deployment, data: Mapping[str, Value], kind: str = "Opaque") -> Spec:
    """A Secret with some texts."""
    return {"metadata": {"labels": labels(deployment.service)}, "type": kind, "data": dict(data)}


def registries(deployment: Deployment, credentials: Sequence[Mapping[str, Any]]) -> Spec:
    """A Secret that images are pulled with."""
    return {
        "metadata": {"labels": labels(deployment.service)},
        "type": "kubernetes.io/dockerconfigjson",
        "registries": {
            str(one["location"]): {"username": one["user"], "password": one["password"]} for one in credentials
        },
    }


def network_policy(deployment: Deployment) -> Spec:
    """Nothing but the scoring port is reached, also of pods that the Service does not send to (yet)."""
    return {
        "metadata": {"labels": labels(deployment.service)},
        "spec": {
            "podSelector": {"matchLabels": labels(deployment.service)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": PORT, "protocol": "TCP"}]}],
        },
    }


def service(deployment: Deployment) -> Spec:
    """Where the service is reached."""
    block, target = deployment.settings.block, deployment.target.block
    balanced = block["expose"] == "loadBalancer"
    metadata: dict[str, Value] = {"labels": labels(deployment.service)}
    annotations: dict[str, Value] = {}
    if balanced and target["loadBalancerType"] == "InternalLoadBalancer":
        annotations[f"{_AZURE}-load-balancer-internal"] = "true"
        annotations[f"{_AZURE}-load-balancer-internal-subnet"] = str(target["loadBalancerSubnet"])
    if balanced and block["dnsNameLabel"]:
        annotations[f"{_AZURE}-dns-label-name"] = str(block["dnsNameLabel"])
    if annotations:
        metadata["annotations"] = annotations
    return {
        "metadata": metadata,
        "spec": {
            "type": "LoadBalancer" if balanced else "ClusterIP",
            "selector": selector(deployment.service),
            "ports": {"http": {"port": deployment.settings.port or 80, "targetPort": "http", "protocol": "TCP"}},
        },
    }


def workload(deployment: Deployment, image: str, digest: Value) -> Spec:
    """The Deployment.

    Args:
        digest: Of the image, where that is known or will be; None for an image that is named in the manifest.
    """
    settings, block, name = deployment.settings, deployment.settings.block, deployment.service
    spec: dict[str, Value] = {
        "selector": {"matchLabels": selector(name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "progressDeadlineSeconds": math.ceil(settings.ready_timeout_seconds) + BEFORE_START_SECONDS,
        "revisionHistoryLimit": 3,
        "template": {
            "metadata": {"labels": {**labels(name), **selector(name)}, **scaling.told(deployment)},
            "spec": _pod(deployment, image, digest),
        },
    }
    if not block["autoscale"]["enabled"]:
        spec["replicas"] = settings.replicas
    metadata: dict[str, Value] = {"labels": labels(name)}
    if annotations := _annotations(deployment):
        metadata["annotations"] = annotations
    whole: dict[str, Value] = {"metadata": metadata, "spec": spec}
    if secrets := secret_variables(deployment):
        # A variable reaches a pod when that starts: its fingerprint stands in the template.
        whole["secretVariables"] = dict(secrets)
    return whole


def _annotations(deployment: Deployment) -> dict[str, Value]:
    told: dict[str, Any] = {"tags": dict(deployment.tags), "properties": deployment.settings.block["properties"]}
    found: dict[str, Value] = {
        f"{PREFIX}/{key}": json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in told.items() if value
    }
    if deployment.description:
        found[f"{PREFIX}/description"] = deployment.description
    return found


def _pod(deployment: Deployment, image: str, digest: Value) -> dict[str, Value]:
    settings, block, name = deployment.settings, deployment.settings.block, deployment.service
    volumes: dict[str, Value] = {"tmp": {"emptyDir": {}}}
    if deployment.auth.enabled and not deployment.image.image:
        # Readable by the group alone: the file is root's, the pod's group is fsGroup.
        volumes["keys"] = {"secret": {"secretName": keys_secret(name), "defaultMode": 0o440}}
    spread: dict[str, Value] = {
        key: {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": selector(name)}}
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    }
    security: dict[str, Value] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if not deployment.image.image:
        security |= {"runAsUser": UID, "runAsGroup": UID, "fsGroup": UID}
    pod: dict[str, Value] = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": BEFORE_STOP_SECONDS + math.ceil(settings.drain_seconds) + 5,
        "securityContext": security,
        "containers": {CONTAINER: _container(deployment, image, digest)},
        "volumes": volumes,
        "topologySpreadConstraints": spread,
    }
    if block["nodeSelector"]:
        pod["nodeSelector"] = dict(block["nodeSelector"])
    if block["tolerations"]:
        pod["tolerations"] = [_toleration(one) for one in block["tolerations"]]
    return pod


def _toleration(one: Mapping[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {"key": one["key"], "operator": "Equal" if one.get("value") else "Exists"}
    return found | {key: one[key] for key in ("value", "effect") if one.get(key)}


def _container(deployment: Deployment, image: str, digest: Value) -> dict[str, Value]:
    name = deployment.service
    container: dict[str, Value] = {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": {"http": {"containerPort": PORT, "protocol": "TCP"}},
        "resources": _resources(deployment),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": {"/tmp": {"name": "tmp"}},  # noqa: S108 - in the container
        "lifecycle": {"preStop": {"sleep": {"seconds": BEFORE_STOP_SECONDS}}},
        **_probes(deployment),
    }
    if digest is not None:
        container["imageDigest"] = digest
    if not deployment.image.image:
        container["args"] = arguments(deployment)
        if deployment.auth.enabled:
            mounts = cast("dict[str, Value]", container["volumeMounts"])
            mounts[KEYS_FOLDER] = {"name": "keys", "readOnly": True}
    env: dict[str, Value] = {variable: {"value": value} for variable, value in _threads(deployment).items()}
    for variable, value in sorted(deployment.settings.environment_variables.items()):
        reference = {"secretKeyRef": {"name": variables_secret(name), "key": variable}}
        env[variable] = {"value": literal(value)} if isinstance(value, str) else {"valueFrom": reference}
    if env:
        container["env"] = env
    return container


def literal(text: str) -> str:
    """A text as it has to be written for a container to get it: the kubelet puts other variables in for `$(NAME)`.

    Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def arguments(deployment: Deployment) -> list[Value]:
    """The scoring runtime's arguments, each with its value in one word, so that a change shows its name."""
    settings = deployment.settings
    words: list[Value] = [
        "--host=0.0.0.0",
        f"--port={PORT}",
        "--log-format=json",
        f"--service-name={deployment.service}",
        f"--timeout-ms={settings.scoring_timeout_ms}",
        f"--concurrency={settings.max_concurrent_requests}",
        f"--graceful-seconds={settings.drain_seconds:g}",
        f"--stop-idle-seconds={STOP_IDLE_SECONDS}",
    ]
    if settings.max_request_wait_time is not None:
        words.append(f"--max-wait-ms={settings.max_request_wait_time}")
    if settings.max_body_mb is not None:
        words.append(f"--max-body-bytes={round(settings.max_body_mb * 1e6)}")
    if settings.cors_origins:
        words.append(f"--cors={','.join(sorted(settings.cors_origins))}")
    if scaling.by_requests(deployment):
        words.append("--metrics-public")
    if deployment.auth.enabled:
        words.append(f"--keys-file={KEYS_FOLDER}/{KEYS_FILE}")
    return words


def _threads(deployment: Deployment) -> dict[str, str]:
    """Numeric libraries count the node's cores, not the container's share."""
    cores = deployment.settings.block["cpuCoresLimit"]
    return dict.fromkeys(_THREADS, str(max(1, math.ceil(cores)))) if cores else {}


def _resources(deployment: Deployment) -> dict[str, Value]:
    settings, block = deployment.settings, deployment.settings.block
    requests: dict[str, Value] = {}
    limits: dict[str, Value] = {}
    for side, cores, gigabytes in (
        (requests, settings.cpu_cores, settings.memory_gb),
        (limits, block["cpuCoresLimit"], block["memoryGbLimit"]),
    ):
        if cores:
            side["cpu"] = canonical(f"{round(cores * 1000)}m")
        if gigabytes:
            side["memory"] = canonical(round(gigabytes * 1e9))
    devices = {**block["extendedResources"], **({GPU: block["gpuCores"]} if block["gpuCores"] else {})}
    # Requests of devices are their limits; the API fills them in.
    limits |= {device: canonical(count) for device, count in sorted(devices.items())}
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _probes(deployment: Deployment) -> dict[str, Value]:
    settings = deployment.settings
    liveness: Mapping[str, Any] = settings.block["livenessProbe"]

    def probe(path: str) -> dict[str, Value]:
        # Nobody knows the paths of an image that was not built here.
        return (
            {"tcpSocket": {"port": "http"}} if deployment.image.image else {"httpGet": {"path": path, "port": "http"}}
        )

    every = 2
    return {
        "startupProbe": {
            **probe("/health/ready"),
            "periodSeconds": every,
            "timeoutSeconds": int(liveness["timeoutSeconds"]),
            "failureThreshold": max(1, math.ceil(settings.ready_timeout_seconds / every)),
        },
        "readinessProbe": {
            **probe("/health/ready"),
            "periodSeconds": 5,
            "timeoutSeconds": int(liveness["timeoutSeconds"]),
            "failureThreshold": 2,
        },
        "livenessProbe": {
            **probe("/health/live"),
            "periodSeconds": int(liveness["periodSeconds"]),
            "initialDelaySeconds": int(liveness["initialDelaySeconds"]),
            "timeoutSeconds": int(liveness["timeoutSeconds"]),
            "failureThreshold": int(liveness["failureThreshold"]),
        },
    }


def budget(deployment: Deployment) -> Spec:
    """Whoever drains nodes takes one replica at a time."""
    return {
        "metadata": {"labels": labels(deployment.service)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(deployment.service)}},
    }


def ingress(deployment: Deployment) -> Spec:
    """The way in by name, with TLS where that is asked for."""
    block, name = deployment.settings.block, deployment.service
    backend: dict[str, Value] = {"service": {"name": name, "port": {"name": "http"}}}
    spec: dict[str, Value] = {
        "rules": [
            {"host": block["cname"], "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
        ]
    }
    if block["ingressClass"]:
        spec["ingressClassName"] = block["ingressClass"]
    if block["sslEnabled"]:
        spec["tls"] = [{"hosts": [block["cname"]], "secretName": block["sslSecretName"] or tls_secret(name)}]
    metadata: dict[str, Value] = {"labels": labels(name)}
    if block["ingressAnnotations"]:
        metadata["annotations"] = dict(block["ingressAnnotations"])
    return {"metadata": metadata, "spec": spec}


def image_digest(image: str) -> Unknown:
    """The digest that a registry gives an image when it is pushed.

    Args:
        image: Id of the image's resource.
    """
    return Unknown(image, "/digest")
