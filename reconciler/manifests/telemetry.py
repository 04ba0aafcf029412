"""Telemetry of a service: where `enableAppInsights` finds its connection string, and what the service needs for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.dataclass import replace
from reconciler.core.deployment import Settings
from reconciler.core.problems import Problem
from reconciler.manifests.repo import Manifest

# Azure Monitor's name for it: https://learn.microsoft.com/azure/azure-monitor/app/connection-strings
CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
# What Azure ML's server is told with (azureml-inference-server-http 1.5, `config.py`).
SWITCH = "AML_APP_INSIGHTS_ENABLED"
_KEY = "enableAppInsights"


def asked(settings: Settings) -> bool:
    """Whether a service is to send telemetry. Targets without the setting have it not."""
    return bool(settings.block.get(_KEY)) and "appInsightsConnectionString" in settings.block


def connected(settings: Settings) -> Settings | None:
    """Settings with the variables that make the scoring runtime send telemetry; None without a connection string.

    A connection string among the service's own variables wins over that of the settings.
    """
    variables = settings.environment_variables
    connection = variables.get(CONNECTION) or settings.block["appInsightsConnectionString"]
    if connection is None:
        return None
    return replace(settings, environment_variables={**variables, SWITCH: "true", CONNECTION: connection})


def unconnected(service: Manifest, kind: str, layers: Sequence[Manifest | None]) -> Problem:
    """What to say where there is no connection string.

    Args:
        kind: The target's type, whose block has the setting.
        layers: Where the setting may stand, the one that counts first.
    """
    pointer = f"/spec/deployment/{kind}/{_KEY}"
    said = next((layer for layer in layers if layer is not None and _says(layer, kind)), service)
    message = f"`{_KEY}` has no connection string of an Application Insights resource to send telemetry to"
    hint = (
        f"add `appInsightsConnectionString: {{valueFrom: {{env: {CONNECTION}}}}}` beside it, or below "
        f"`deployment.{kind}` of the Target once for all of its services; `file`, `keyVault` and `sops` do as well"
    )
    return Problem("together", message, said.at(pointer), hint, service.subject)


def _says(layer: Manifest, kind: str) -> bool:
    deployment: Mapping[str, Any] = layer.spec.get("deployment") or {}
    return _KEY in (deployment.get(kind) or {})
