"""From a resource's normal form back to the `deployment` of a manifest: what both engines have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.values import Spec

DEFAULT_HOST = "127.0.0.1"


def deployment_of(spec: Spec, block: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a service, null for those that are not set.

    Args:
        block: Those of `local` that only the engine at hand has.
    """
    limits, scoring, log = section(spec, "limits"), section(spec, "scoring"), section(spec, "log")
    return {
        "port": spec.get("port"),
        "host": None if spec.get("host") == DEFAULT_HOST else spec.get("host"),
        "cpuCores": limits.get("cpuCores"),
        "memoryGb": limits.get("memoryGb"),
        "replicas": spec.get("workers"),
        "maxConcurrentRequests": scoring.get("maxConcurrentRequests"),
        "scoringTimeoutMs": scoring.get("timeoutMs"),
        "maxRequestWaitTime": scoring.get("maxWaitMs"),
        "maxBodyMb": scoring.get("maxBodyMb"),
        "readyTimeoutSeconds": spec.get("readyTimeoutSeconds"),
        "drainSeconds": spec.get("drainSeconds"),
        "corsOrigins": list(cast("Sequence[str]", spec.get("corsOrigins") or ())),
        "environmentVariables": dict(section(spec, "environmentVariables")),
        "local": {
            "openFiles": limits.get("openFiles"),
            "logMaxMb": log.get("maxMb"),
            "logFiles": log.get("files"),
            **block,
        },
    }


def models_of(spec: Spec) -> tuple[tuple[str, str], ...]:
    """Name and version of each model."""
    models = cast("Sequence[Mapping[str, Any]]", spec.get("models") or ())
    return tuple((str(model["name"]), str(model["version"])) for model in models)


def section(spec: Spec, name: str) -> Mapping[str, Any]:
    """A map in a spec; empty if it is not there."""
    return cast("Mapping[str, Any]", spec.get(name) or {})
