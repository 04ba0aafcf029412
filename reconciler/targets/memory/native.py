"""The normal form of the target in memory, and its own: other units, other spellings, lists in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.resources import Health
from reconciler.core.secrets import Secret
from reconciler.core.values import Spec, Unknown, unknowns

HEALTH: Mapping[str, Health] = {
    "running": Health.HEALTHY,
    "starting": Health.PROGRESSING,
    "stopped": Health.SUSPENDED,
    "failed": Health.DEGRADED,
    "none": Health.MISSING,
}


def health_of(status: str) -> Health:
    """The health a native status means; a word nobody knows means Unknown."""
    return HEALTH.get(status, Health.UNKNOWN)


def canon(spec: Spec) -> dict[str, Any]:
    """A spec in normal form: numbers as numbers, sets sorted."""
    result: dict[str, Any] = dict(spec)
    if isinstance(result.get("ports"), (list, tuple)):
        result["ports"] = sorted(set(cast("Sequence[int]", result["ports"])))
    for name in ("cpuCores", "memoryGb"):
        if isinstance(result.get(name), (int, float)):
            result[name] = round(float(result[name]), 3)
    return result


def to_native(spec: Spec) -> tuple[dict[str, Any], dict[str, str] | None]:
    """A resource as the target takes it, and the secrets that go with it (None: no word about secrets).

    Raises:
        ValueError: A value in it is not known yet.
    """
    left: list[Unknown] = unknowns(spec)
    if left:
        raise ValueError(f"{left[0].source}{left[0].pointer} is not known")
    native = canon(spec)
    secrets = native.pop("secrets", None)
    if "cpuCores" in native:
        native["cpu"] = f"{round(native.pop('cpuCores') * 1000)}m"
    if "memoryGb" in native:
        native["memory"] = f"{round(native.pop('memoryGb') * 1000)}M"
    if "environmentVariables" in native:
        variables = native.pop("environmentVariables")
        native["env"] = [{"name": k, "value": v} for k, v in sorted(variables.items(), reverse=True)]
    if isinstance(native.get("ports"), list):
        native["ports"] = [str(port) for port in reversed(native["ports"])]
    hidden = None if secrets is None else {k: _text(v) for k, v in cast("Mapping[str, Any]", secrets).items()}
    return native, hidden


def _text(value: Any) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)


def from_native(native: Mapping[str, Any]) -> dict[str, Any]:
    """The normal form of what the target reports."""
    spec: dict[str, Any] = dict(native)
    if "cpu" in spec:
        spec["cpuCores"] = int(str(spec.pop("cpu")).removesuffix("m")) / 1000
    if "memory" in spec:
        spec["memoryGb"] = int(str(spec.pop("memory")).removesuffix("M")) / 1000
    if "env" in spec:
        spec["environmentVariables"] = {item["name"]: item["value"] for item in spec.pop("env")}
    if isinstance(spec.get("ports"), list):
        spec["ports"] = [int(port) for port in spec["ports"]]
    return canon(spec)
