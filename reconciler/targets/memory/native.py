"""The normal form of the target in memory, and its own: other units, other spellings, lists in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.resources import Health
from reconciler.core.secrets import Secret
from reconciler.core.values import Spec, Unknown, escape, lookup, unknowns

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
    """A spec in normal form: numbers as numbers, sets sorted, names of places in lower case without blanks."""
    result: dict[str, Any] = dict(spec)
    if isinstance(result.get("ports"), (list, tuple)):
        result["ports"] = sorted(set(cast("Sequence[int]", result["ports"])))
    if isinstance(result.get("location"), str):
        result["location"] = result["location"].lower().replace(" ", "")
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
    if isinstance(native.get("location"), str):
        native["location"] = native["location"].upper()
    if "environmentVariables" in native:
        variables = native.pop("environmentVariables")
        native["env"] = [{"name": k, "value": v} for k, v in sorted(variables.items(), reverse=True)]
    if isinstance(native.get("ports"), list):
        native["ports"] = [str(port) for port in reversed(native["ports"])]
    hidden = None if secrets is None else {k: _text(v) for k, v in cast("Mapping[str, Any]", secrets).items()}
    return native, hidden


def _text(value: Any) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)


def _quantity(text: str, small: str, large: str) -> float:
    """A number with one of two units, of which the large one is a thousand small ones."""
    return int(text.removesuffix(small)) / 1000 if text.endswith(small) else float(text.removesuffix(large))


def from_native(native: Mapping[str, Any]) -> dict[str, Any]:
    """The normal form of what the target reports."""
    spec: dict[str, Any] = dict(native)
    if "cpu" in spec:
        spec["cpuCores"] = _quantity(str(spec.pop("cpu")), "m", "")
    if "memory" in spec:
        spec["memoryGb"] = _quantity(str(spec.pop("memory")), "M", "G")
    if "env" in spec:
        spec["environmentVariables"] = {item["name"]: item["value"] for item in spec.pop("env")}
    if isinstance(spec.get("ports"), list):
        spec["ports"] = [int(port) for port in spec["ports"]]
    return canon(spec)


def place_of(native_place: str, native: Mapping[str, Any]) -> str:
    """The pointer in normal form of a place in the target's own; of the whole field where no part of it corresponds."""
    top, _, rest = native_place.removeprefix("/").partition("/")
    if top == "env" and rest:
        name = lookup(native, f"/env/{rest.partition('/')[0]}/name")
        return f"/environmentVariables/{escape(name)}" if isinstance(name, str) else "/environmentVariables"
    renamed = {"cpu": "cpuCores", "memory": "memoryGb", "env": "environmentVariables"}.get(top)
    return f"/{renamed}" if renamed else native_place if top != "ports" else "/ports"
