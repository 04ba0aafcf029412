"""A resource in memory in the words of manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.described import Code, Described, Unsaid
from reconciler.core.resources import Observed
from reconciler.core.secrets import Secret
from reconciler.core.values import MISSING
from reconciler.targets.memory.world import DEFAULTS

# Fields that settings of their own make; any other one is among the `fields` of the block.
_OPTIONS = ("zone", "ports", "labels")
_SETTINGS = ("port", "cpuCores", "memoryGb", "replicas")
_OTHERS = ("models", "environment", "entry", "environmentVariables")


def described(observed: Observed, hidden: Mapping[str, str]) -> Described:
    """The service that a resource is.

    Args:
        hidden: The secrets that it was given: their names can be told, what they are cannot.
    """
    spec: Mapping[str, Any] = observed.spec
    fields = {
        key: value
        for key, value in spec.items()
        if key not in (*_OPTIONS, *_SETTINGS, *_OTHERS) and DEFAULTS.get(key, MISSING) != value
    }
    block = {key: spec.get(key) for key in _OPTIONS}
    variables = {**dict(spec.get("environmentVariables") or {}), **{name: Secret("") for name in hidden}}
    entry: Mapping[str, Any] = spec.get("entry") or {}
    models = cast("Sequence[Mapping[str, Any]]", spec.get("models") or ())
    return Described(
        observed,
        {
            **{key: spec.get(key) for key in _SETTINGS},
            "environmentVariables": variables,
            "memory": {**block, "plain": observed.id.kind == "plain", "fields": fields},
        },
        tuple((str(model["name"]), str(model["version"])) for model in models),
        code=Code(
            str(entry.get("script", "")), str(entry.get("source", "")), False, (str(spec.get("environment", "")), "")
        ),
        unsaid=tuple(
            Unsaid(f"secret {name}", "the target does not tell what it is, so it is written anew")
            for name in sorted(hidden)
        ),
    )
