"""From a deployment to resources in memory: one `service`, and a `source` where the settings ask for one.

Options of the target block (`settings.block`): `zone` (immutable), `ports`, `labels` (changed in place), `source`
(text: adds a resource whose digest exists only after it was applied, used as the service's `image`), `dependsOn` (ids),
`from` (name -> `target/kind/name#/pointer`: values that exist only after something else was applied), `fields` (any
further fields), `plain` (kind `plain`, which cannot be staged).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.core.deployment import Deployment
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Problem
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.values import Unknown
from reconciler.targets.memory.native import canon

OPTIONS = ("zone", "ports", "labels", "source", "dependsOn", "from", "fields", "plain")


def render(deployment: Deployment) -> list[Desired]:
    """The resources of a deployment. Pure.

    Raises:
        InvalidError: An option that this target does not have.
    """
    block = deployment.settings.block
    strange = sorted(block.keys() - set(OPTIONS))
    if strange:
        message = f"the memory target has no option '{strange[0]}'"
        hint = f"options: {', '.join(OPTIONS)}"
        problem = Problem("unknown-key", message, deployment.position, hint, f"Service/{deployment.service}")
        raise InvalidError(message, problems=[problem], hint=hint)
    target = deployment.target.name
    resources: list[Desired] = []
    needed = [*(model.id for model in deployment.models), deployment.environment.id]
    needed += [ResourceId.parse(str(text)) for text in block.get("dependsOn", ())]
    unknown = {name: _unknown(str(text)) for name, text in dict(block.get("from", {})).items()}
    if "source" in block:
        id_ = ResourceId(target, "source", deployment.service)
        resources.append(Desired(id_, {"content": block["source"]}, deployment.service, policy=deployment.policy))
        unknown["image"] = Unknown(str(id_), "/digest")
        needed.append(id_)
    resources.append(
        Desired(
            ResourceId(target, "plain" if block.get("plain") else "service", deployment.service),
            canon({**_spec(deployment, block), **unknown}),
            deployment.service,
            tuple(dict.fromkeys(needed)),
            deployment.policy,
            ", ".join(f"{model.name}:{model.version}" for model in deployment.models),
            tests=deployment.tests,
        )
    )
    return resources


def _unknown(text: str) -> Unknown:
    source, _, pointer = text.partition("#")
    return Unknown(source, pointer)


def _spec(deployment: Deployment, block: Mapping[str, Any]) -> dict[str, Any]:
    settings = deployment.settings
    variables = settings.environment_variables
    spec: dict[str, Any] = {
        "models": [
            {"name": m.name, "version": m.version, "digest": m.digest or Unknown(str(m.id), "/digest")}
            for m in deployment.models
        ],
        "environment": deployment.environment.id.name,
        "entry": {"script": deployment.entry.path, "source": deployment.entry.object_id},
        "replicas": settings.replicas,
        "environmentVariables": {k: v for k, v in variables.items() if isinstance(v, str)},
    }
    secrets: dict[str, Any] = {k: v for k, v in variables.items() if not isinstance(v, str)}
    optional = {
        "cpuCores": settings.cpu_cores,
        "memoryGb": settings.memory_gb,
        "port": settings.port,
        "secrets": secrets or None,
        "zone": block.get("zone"),
        "ports": block.get("ports"),
        "labels": block.get("labels"),
    }
    return {**spec, **{k: v for k, v in optional.items() if v is not None}, **dict(block.get("fields", {}))}
