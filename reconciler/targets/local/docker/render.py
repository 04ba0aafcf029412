"""From a deployment to the one resource that the docker engine makes of it: a `container` named like the service."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.dataclass import dataclass
from reconciler.core.deployment import Deployment, ModelVersion
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError
from reconciler.core.images import image_name
from reconciler.core.problems import Problem
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.values import Spec, Unknown, Value

KIND = "container"
DEFAULT_HOST = "127.0.0.1"
LOG_MAX_MB = 10.0
LOG_FILES = 5

# What `docker update` changes on a running container, and what lies outside of it.
UPDATED = ("limits", "restart")
# Besides, what starting or naming it mends.
IN_PLACE = ("/auth/keys", "/limits/cpuCores", "/limits/memoryGb", "/restart", "/state")
RUNNING = "running"
SERVING_NETWORK = "bridge"

FIELDS = (
    "/image",
    "/readyMade",
    "/models/*/name",
    "/models/*/version",
    "/models/*/digest",
    "/host",
    "/port",
    "/workers",
    "/limits/cpuCores",
    "/limits/memoryGb",
    "/limits/gpus",
    "/limits/openFiles",
    "/scoring/timeoutMs",
    "/scoring/maxConcurrentRequests",
    "/scoring/maxBodyMb",
    "/readyTimeoutSeconds",
    "/drainSeconds",
    "/corsOrigins/*",
    "/auth/enabled",
    "/auth/keys/*",
    "/environmentVariables/*",
    "/restart",
    "/readOnly",
    "/log/maxMb",
    "/log/files",
    "/networks/*",
    "/state",
    "/volumes/*/source",
    "/volumes/*/path",
    "/volumes/*/readOnly",
)


@dataclass(frozen=True, slots=True)
class Naming:
    """What the operator's settings say that decides what containers are made from.

    Args:
        default_base: What images are built on where no `baseImage` is named.
        registry: Address that built images are pushed to; "" for none.
        volumes: Folders of the machine and names of volumes that services may ask for.
    """

    default_base: str
    registry: str = ""
    volumes: Sequence[str] = ()


class DockerRenderer:
    """Implements `core.driver.Renderer`.

    Args:
        here: Whether the engine runs on this machine: only then a version without a port can be tested, and so staged.
    """

    def __init__(self, target: str, naming: Naming, *, here: bool) -> None:
        self._target = target
        self._naming = naming
        self._here = here

    @property
    def target(self) -> str:
        """The target's name."""
        return self._target

    @property
    def capabilities(self) -> Capabilities:
        """What changes in place, and whether the rest can be staged."""
        return Capabilities(
            kinds=frozenset({KIND}),
            fields=FIELDS,
            stages=frozenset({KIND}) if self._here else frozenset(),
            endpoints=frozenset({KIND}),
            in_place=IN_PLACE,
            hands_over=(f"{KIND}:/host", f"{KIND}:/port"),
            restarts=("/image",),
            parallel=4,
            deadline_seconds=900.0,
        )

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """One container a service. Pure.

        Raises:
            InvalidError: It asks for a folder or volume that the operator's settings do not allow.
        """
        ready, naming = deployment.image.image, self._naming
        _check_volumes(deployment, naming.volumes)
        models = tuple(dict.fromkeys(model.id for model in deployment.models))
        if ready:
            reference, depends = ready, models
        else:
            name = image_name(deployment, naming.default_base)
            reference, depends = name.reference(naming.registry), (*models, name.id)
        return [
            Desired(
                id=ResourceId(self._target, KIND, deployment.service),
                spec=spec_of(deployment, reference),
                service=deployment.service,
                depends_on=depends,
                policy=deployment.policy,
                summary=_summary(deployment),
                tests=deployment.tests,
            )
        ]


def _check_volumes(deployment: Deployment, allowed: Sequence[str]) -> None:
    block = deployment.settings.block
    files = [str(block[key]) for key in ("tlsCertFile", "tlsKeyFile") if block.get(key)]
    for source in [*(str(volume["source"]) for volume in block.get("volumes") or ()), *files]:
        if source.startswith("/"):
            plain = posixpath.normpath(source)
            fine = any(plain == f or plain.startswith(f"{f.rstrip('/')}/") for f in allowed if f.startswith("/"))
        else:
            fine = source in allowed and source not in files
        if not fine:
            message = f"the operator's settings do not allow services to have '{source}' (docker.volumes)"
            hint = "take it out, or ask the operator to allow it"
            subject = f"Service/{deployment.service}"
            problem = Problem("volume-not-allowed", message, deployment.position, hint, subject)
            raise InvalidError(message, problems=[problem], hint=hint)


def spec_of(deployment: Deployment, reference: str) -> Spec:
    """The normal form. Optional fields that are not set are left out; `port` null means a free one, then kept."""
    settings, block = deployment.settings, deployment.settings.block
    limits = {
        "cpuCores": _number(settings.cpu_cores),
        "memoryGb": _number(settings.memory_gb),
        "gpus": block.get("gpus"),
        "openFiles": block.get("openFiles"),
    }
    spec: dict[str, Value] = {
        "image": reference,
        "models": [_model(model) for model in deployment.models],
        "host": settings.host or DEFAULT_HOST,
        "port": settings.port,
        "workers": settings.replicas,
        "limits": _set(limits),
        "scoring": _set(
            {
                "timeoutMs": settings.scoring_timeout_ms,
                "maxConcurrentRequests": settings.max_concurrent_requests,
                "maxBodyMb": _number(settings.max_body_mb),
                "maxWaitMs": settings.max_request_wait_time,
            }
        ),
        "readyTimeoutSeconds": _number(settings.ready_timeout_seconds),
        "drainSeconds": _number(settings.drain_seconds),
        "corsOrigins": sorted(settings.cors_origins),
        "auth": _auth(deployment),
        "environmentVariables": dict(sorted(settings.environment_variables.items())),
        "restart": str(block.get("restart") or "unless-stopped"),
        "readOnly": bool(block.get("readOnly", True)),
        "log": _log(block),
        "networks": sorted(block.get("networks") or (SERVING_NETWORK,)),
        "state": RUNNING,
    }
    if deployment.image.image:
        spec["readyMade"] = True
    if block.get("tlsCertFile"):
        spec["tls"] = {"certFile": str(block["tlsCertFile"]), "keyFile": str(block["tlsKeyFile"])}
    if block.get("volumes"):
        spec["volumes"] = [_volume(volume) for volume in sorted(block["volumes"], key=lambda v: str(v["path"]))]
    return spec


def _log(block: Mapping[str, Any]) -> dict[str, Value]:
    size = block.get("logMaxMb")
    if size == 0:
        return {"maxMb": 0, "files": 1}
    return {"maxMb": _number(LOG_MAX_MB if size is None else size), "files": int(block.get("logFiles") or LOG_FILES)}


def _number(value: Any) -> Any:
    """One spelling for equal numbers: whole ones as integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _set(values: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if value is not None}


def _volume(volume: Mapping[str, Any]) -> dict[str, Value]:
    return {
        "source": str(volume["source"]),
        "path": str(volume["path"]),
        "readOnly": bool(volume.get("readOnly", True)),
    }


def _model(model: ModelVersion) -> dict[str, Value]:
    known = model.digest or Unknown(str(model.id), "/digest")
    return {"name": model.name, "version": model.version, "digest": known}


def _auth(deployment: Deployment) -> dict[str, Value]:
    auth = deployment.auth
    if not auth.enabled:
        return {"enabled": False}
    slots = {"primary": auth.primary, "secondary": auth.secondary}
    keys = {slot: key for slot, key in slots.items() if key is not None}
    return {"enabled": True, "keys": keys}


def _summary(deployment: Deployment) -> str:
    models = ", ".join(f"{model.name}:{model.version}" for model in deployment.models)
    where = f"port {deployment.settings.port}" if deployment.settings.port else "a free port"
    workers = deployment.settings.replicas
    many = f"{workers} workers" if workers > 1 else ""
    return ", ".join(part for part in (models, deployment.image.image, many, where) if part)
