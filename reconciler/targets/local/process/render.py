"""From a deployment to the one resource that the process engine makes of it: kind `process`, named like the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.dataclass import dataclass
from reconciler.core.deployment import Deployment, Environment, ImageInputs, ModelVersion
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError
from reconciler.core.memory import ByIdentity
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
    "/scoring/maxWaitMs",
    "/readyTimeoutSeconds",
    "/drainSeconds",
    "/corsOrigins/*",
    "/auth/enabled",
    "/auth/keys/*",
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
    # A key that somebody adds opens the service like one of ours.
    closed=("/auth/keys",),
    hands_over=(f"{KIND}:/host", f"{KIND}:/port"),
    parallel=4,
    deadline_seconds=900.0,
)


@dataclass(frozen=True, slots=True)
class _Model:
    """What one model version is in the resources of all services that use it."""

    id: ResourceId
    label: str
    spec: Spec

    @classmethod
    def of(cls, model: ModelVersion) -> _Model:
        known = model.digest or Unknown(str(model.id), "/digest")
        label = f"{model.name}:{model.version}"
        return cls(model.id, label, {"name": model.name, "version": model.version, "digest": known})


class ProcessRenderer:
    """Implements `core.driver.Renderer` for one target of the process engine."""

    def __init__(self, target: str) -> None:
        self._target = target
        # Thousands of services share a few of these.
        self._models = ByIdentity(_Model.of)
        self._environments = ByIdentity(_environment)
        self._images = ByIdentity(_unused)

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
            InvalidError: It serves a ready-made image, which only engines with containers can run.
        """
        if deployment.image.image:
            message = f"image '{deployment.image.image}' cannot be run as a process"
            hint = "use a target with a container engine, or an InferenceConfig with entryScript"
            problem = Problem(
                "image-needs-containers", message, deployment.position, hint, f"Service/{deployment.service}"
            )
            raise InvalidError(message, problems=[problem], hint=hint)
        models = [self._models[model] for model in deployment.models]
        desired = Desired(
            id=ResourceId(self._target, KIND, deployment.service),
            spec=self._spec(deployment, models),
            service=deployment.service,
            depends_on=(*dict.fromkeys([model.id for model in models]), deployment.environment.id),
            policy=deployment.policy,
            summary=_summary(deployment, models),
            warnings=_warnings(deployment, self._images[deployment.image]),
            tests=deployment.tests,
        )
        return [desired]

    def _spec(self, deployment: Deployment, models: Sequence[_Model]) -> Spec:
        """The normal form. Optional fields that are not set are left out; `port` null: the supervisor chooses one."""
        settings, entry, auth = deployment.settings, deployment.entry, deployment.auth
        block = settings.block
        slots = {"primary": auth.primary, "secondary": auth.secondary}
        spec: dict[str, Value] = {
            "models": [model.spec for model in models],
            "environment": self._environments[deployment.environment],
            "entry": {"script": entry.path, "source": entry.object_id},
            "host": settings.host or DEFAULT_HOST,
            "port": settings.port,
            "workers": settings.replicas,
            "limits": _set(
                {"cpuCores": settings.cpu_cores, "memoryGb": settings.memory_gb, "openFiles": block.get("openFiles")}
            ),
            "scoring": _set(
                {
                    "timeoutMs": settings.scoring_timeout_ms,
                    "maxConcurrentRequests": settings.max_concurrent_requests,
                    "maxBodyMb": settings.max_body_mb,
                    "maxWaitMs": settings.max_request_wait_time,
                }
            ),
            "readyTimeoutSeconds": settings.ready_timeout_seconds,
            "drainSeconds": settings.drain_seconds,
            "corsOrigins": sorted(settings.cors_origins),
            "auth": {"enabled": True, "keys": _set(slots)} if auth.enabled else {"enabled": False},
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


def _environment(environment: Environment) -> Spec:
    return {"name": environment.id.name, "identity": environment.identity}


def version_of(spec: Spec) -> str:
    """What tells versions apart: 64 hex digits over the spec without what changes in place."""
    auth = {key: value for key, value in _mapping(spec.get("auth")).items() if key != "keys"}
    return digest({**spec, "auth": auth})


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if value else {}


def _set(values: Mapping[str, Value]) -> dict[str, Value]:
    return {key: value for key, value in values.items() if value is not None}


def _summary(deployment: Deployment, models: Sequence[_Model]) -> str:
    workers, port = deployment.settings.replicas, deployment.settings.port
    processes = f"{workers} process{'es' if workers != 1 else ''}"
    return ", ".join([*[model.label for model in models], processes, f"port {port}" if port else "a free port"])


def _unused(image: ImageInputs) -> tuple[str, ...]:
    """What is set of an image that processes do without."""
    inputs = {
        "baseImage": image.base_image,
        "baseImageRegistry": image.registry,
        "extraDockerFileSteps": image.extra_steps,
        "enableGpu": image.enable_gpu,
        "cudaVersion": image.cuda_version,
    }
    return tuple(name for name, value in inputs.items() if value)


def _warnings(deployment: Deployment, unused: tuple[str, ...]) -> tuple[Problem, ...]:
    cores = deployment.settings.cpu_cores
    if deployment.settings.block.get("logMaxMb") == 0:
        unused = (*unused, "logMaxMb: 0")
    if not unused and (cores is None or float(cores).is_integer()):
        return ()
    subject = f"Service/{deployment.service}"
    at: Position | None = deployment.environment.position or deployment.position
    found = [
        Problem(
            "not-used-by-process-engine",
            f"{name} is not used by the process engine, which runs the entry script on this machine as it is",
            at,
            subject=subject,
            severity=Severity.WARNING,
        )
        for name in unused
    ]
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
