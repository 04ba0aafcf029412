"""From a deployment to the one resource that the process engine makes of it: kind `process`, named like the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.core.deployment import Deployment, ModelVersion
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position, Problem, Severity
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.values import Spec, Unknown, Value, digest

KIND = "process"
DEFAULT_HOST = "127.0.0.1"

# Changed on the serving version; everything else is a new one, staged beside it.
IN_PLACE = ("/auth/keys", "/mark")

FIELDS = (
    "/models/*/name",
    "/models/*/version",
    "/models/*/digest",
    "/environment/name",
    "/environment/identity",
    "/entry/script",
    "/entry/source",
    "/entry/singleFile",
    "/host",
    "/port",
    "/workers",
    "/limits/cpuCores",
    "/limits/memoryGb",
    "/limits/openFiles",
    "/scoring/timeoutMs",
    "/scoring/maxConcurrentRequests",
    "/scoring/maxBodyMb",
    "/readyTimeoutSeconds",
    "/drainSeconds",
    "/corsOrigins/*",
    "/auth/enabled",
    "/auth/keys/primary",
    "/auth/keys/secondary",
    "/environmentVariables/*",
    "/tls/certFile",
    "/tls/keyFile",
    "/log/maxMb",
    "/log/files",
)

CAPABILITIES = Capabilities(
    kinds=frozenset({KIND}),
    fields=FIELDS,
    stages=frozenset({KIND}),
    endpoints=frozenset({KIND}),
    in_place=IN_PLACE,
    parallel=4,
    deadline_seconds=900.0,
)


class ProcessRenderer:
    """Implements `core.driver.Renderer` for one target of the process engine."""

    def __init__(self, target: str) -> None:
        self._target = target

    @property
    def target(self) -> str:
        """The target's name."""
        return self._target

    @property
    def capabilities(self) -> Capabilities:
        """Everything can be changed while serving; keys without even a new process."""
        return CAPABILITIES

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """One process group a service. Pure.

        Raises:
            InvalidError: It serves a ready-made image.
        """
        return [render(deployment)]


def render(deployment: Deployment) -> Desired:
    """The resource of a deployment. Pure.

    Raises:
        InvalidError: The deployment serves a ready-made image, which only engines with containers can run.
    """
    subject = f"Service/{deployment.service}"
    if deployment.image.image:
        message = f"image '{deployment.image.image}' cannot be run as a process"
        hint = "use a target with a container engine, or an InferenceConfig with entryScript"
        problem = Problem("image-needs-containers", message, deployment.position, hint, subject)
        raise InvalidError(message, problems=[problem], hint=hint)
    return Desired(
        id=ResourceId(deployment.target.name, KIND, deployment.service),
        spec=spec_of(deployment),
        service=deployment.service,
        depends_on=(*dict.fromkeys(model.id for model in deployment.models), deployment.environment.id),
        policy=deployment.policy,
        summary=_summary(deployment),
        warnings=_warnings(deployment, subject),
        tests=deployment.tests,
    )


def spec_of(deployment: Deployment) -> Spec:
    """The normal form. Optional fields that are not set are left out; `port` null means chosen by the supervisor."""
    settings, entry = deployment.settings, deployment.entry
    limits: dict[str, Value] = {"cpuCores": settings.cpu_cores, "memoryGb": settings.memory_gb}
    block = settings.block
    limits["openFiles"] = block.get("openFiles")
    spec: dict[str, Value] = {
        "models": [_model(model) for model in deployment.models],
        "environment": {"name": deployment.environment.id.name, "identity": deployment.environment.identity},
        "entry": {"script": entry.path, "source": entry.object_id},
        "host": settings.host or DEFAULT_HOST,
        "port": settings.port,
        "workers": settings.replicas,
        "limits": _set(limits),
        "scoring": _set(
            {
                "timeoutMs": settings.scoring_timeout_ms,
                "maxConcurrentRequests": settings.max_concurrent_requests,
                "maxBodyMb": settings.max_body_mb,
            }
        ),
        "readyTimeoutSeconds": settings.ready_timeout_seconds,
        "drainSeconds": settings.drain_seconds,
        "corsOrigins": sorted(settings.cors_origins),
        "auth": _auth(deployment),
        "environmentVariables": dict(sorted(settings.environment_variables.items())),
    }
    if block.get("tlsCertFile"):
        spec["tls"] = {"certFile": block["tlsCertFile"], "keyFile": block.get("tlsKeyFile")}
    log = _set({"maxMb": block.get("logMaxMb"), "files": block.get("logFiles")})
    if log:
        spec["log"] = log
    if entry.single_file:
        spec["entry"] = {"script": entry.path, "source": entry.object_id, "singleFile": True}
    return spec


def version_of(spec: Spec) -> str:
    """What tells versions apart: 64 hex digits over the spec without what changes in place."""
    auth = {key: value for key, value in _mapping(spec.get("auth")).items() if key != "keys"}
    return digest({**spec, "auth": auth})


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if value else {}


def _set(values: dict[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if value is not None}


def _model(model: ModelVersion) -> dict[str, Value]:
    known = model.digest or Unknown(str(model.id), "/digest")
    return {"name": model.name, "version": model.version, "digest": known}


def _auth(deployment: Deployment) -> dict[str, Value]:
    auth = deployment.auth
    if not auth.enabled:
        return {"enabled": False}
    slots = {"primary": auth.primary, "secondary": auth.secondary}
    return {"enabled": True, "keys": {slot: key for slot, key in slots.items() if key is not None}}


def _summary(deployment: Deployment) -> str:
    workers = deployment.settings.replicas
    models = ", ".join(f"{model.name}:{model.version}" for model in deployment.models)
    where = f"port {deployment.settings.port}" if deployment.settings.port else "a free port"
    processes = f"{workers} process{'es' if workers != 1 else ''}"
    return ", ".join(part for part in (models, processes, where) if part)


def _warnings(deployment: Deployment, subject: str) -> tuple[Problem, ...]:
    image, settings = deployment.image, deployment.settings
    unused = {
        "baseImage": image.base_image,
        "baseImageRegistry": image.registry,
        "extraDockerFileSteps": image.extra_steps,
        "enableGpu": image.enable_gpu,
        "cudaVersion": image.cuda_version,
        "maxRequestWaitTime": settings.max_request_wait_time,
    }
    at: Position | None = deployment.environment.position or deployment.position
    found = [
        Problem(
            "not-used-by-process-engine",
            f"{name} is not used by the process engine, which runs the entry script on this machine as it is",
            at,
            subject=subject,
            severity=Severity.WARNING,
        )
        for name, value in unused.items()
        if value
    ]
    cores = settings.cpu_cores
    if cores is not None and not float(cores).is_integer():
        found.append(
            Problem(
                "limit-rounded-up",
                f"cpuCores {cores:g}: the process engine holds a process to whole cores, here {whole_cores(cores)}",
                deployment.position,
                subject=subject,
                severity=Severity.WARNING,
            )
        )
    return tuple(found)


def whole_cores(cores: float) -> int:
    """Cores a process may use: the setting rounded up, at least one."""
    return max(1, -int(-cores // 1))
