"""From what stands at a target to documents that say it: the inverse of resolving."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from reconciler.core.dataclass import dataclass
from reconciler.core.deployment import Settings
from reconciler.core.described import Described, Unsaid, told
from reconciler.core.resources import ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.suspects import looks_secret
from reconciler.manifests import layers
from reconciler.manifests.defaults import COMMON, COMMON_BY_TYPE, SERVICE_BLOCKS
from reconciler.manifests.validate import API_VERSION
from reconciler.manifests.writing import to_yaml

_VAULT = re.compile(r"(https://[^/]+|[^/]+)/([^/]+)(?:/([^/]+))?")


@dataclass(frozen=True, slots=True)
class Below:
    """What a service at a target has without saying it.

    Args:
        target: Name of the target.
        by_default: Services that name no target go there.
        layers: `deployment` of the defaults and of the target.
        variables: Those of the inference config, in their normal form.
    """

    target: str
    type: str
    by_default: bool
    layers: Sequence[Mapping[str, Any]]
    variables: Mapping[str, Any]


def service_document(
    described: Described,
    service: str,
    inference: str,
    below: Below,
    references: Mapping[str, SecretRef],
    *,
    adopt: bool,
) -> dict[str, Any]:
    """A Service that says what was found, and nothing that holds without being said.

    Args:
        inference: Name of its InferenceConfig.
        references: By variable, where its secret is to be found.
        adopt: It is not ours yet.
    """
    spec: dict[str, Any] = {}
    if not below.by_default:
        spec["target"] = below.target
    if described.models:
        spec["models"] = [{"name": name, "version": int(version)} for name, version in described.models]
    spec["inference"] = inference
    enabled = below.type == "aks"
    if described.auth != enabled:
        spec["auth"] = {"enabled": described.auth}
    deployment = _said(described.deployment, below, references)
    if deployment:
        spec["deployment"] = deployment
    mark = described.observed.mark
    policy = {"adopt": adopt, "protect": mark is not None and mark.protect}
    if any(policy.values()):
        spec["policy"] = {key: value for key, value in policy.items() if value}
    return {"apiVersion": API_VERSION, "kind": "Service", "metadata": {"name": service}, "spec": spec}


def inference_document(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """An InferenceConfig."""
    return {"apiVersion": API_VERSION, "kind": "InferenceConfig", "metadata": {"name": name}, "spec": dict(spec)}


def file_of(found: ResourceId, documents: Iterable[Mapping[str, Any]], unsaid: Sequence[Unsaid]) -> str:
    """A file of documents, with what they leave out as a comment."""
    lines = [f"# What stood in {found} when it was imported."]
    if unsaid:
        lines.append("# Not said here:")
        lines += [f"#   {_line(line)}" for line in told(unsaid)]
    return "\n".join(lines) + "\n" + "---\n".join(to_yaml(document) for document in documents)


def _line(text: str) -> str:
    """One line of a comment, as far in as it is."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    return f"{plain[: len(plain) - len(plain.lstrip())]}{' '.join(plain.split())}"


def _said(found: Mapping[str, Any], below: Below, references: Mapping[str, SecretRef]) -> dict[str, Any]:
    """The settings that are not what they would be anyhow."""
    common, block = _unsaid_settings(below)
    said: dict[str, Any] = {}
    for key, value in found.items():
        if key == "environmentVariables":
            variables = _variables(value, common.get(key) or {}, references)
            if variables:
                said[key] = variables
        elif key in COMMON and not _same(value, common.get(key)):
            said[key] = _number(value)
    of_type: Mapping[str, Any] = found.get(below.type) or {}
    own = {key: _number(value) for key, value in of_type.items() if not _same(value, block.get(key))}
    return {**said, below.type: own} if own else said


def _unsaid_settings(below: Below) -> tuple[dict[str, Any], dict[str, Any]]:
    """Common settings and those of the type's block, as they are below the service."""
    builtin = Settings()
    common = {key: getattr(builtin, re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", key)) for key in COMMON}
    common = {**common, **COMMON_BY_TYPE.get(below.type, {}), "environmentVariables": dict(below.variables)}
    block: dict[str, Any] = SERVICE_BLOCKS[below.type]
    for layer in below.layers:
        own: Mapping[str, Any] = layer.get(below.type) or {}
        for part in (layer, own):
            common = layers.merged(common, {key: value for key, value in part.items() if key in COMMON})
        block = layers.merged(block, {key: value for key, value in own.items() if key not in COMMON})
    return common, block


def _variables(
    found: Mapping[str, Any], below: Mapping[str, Any], references: Mapping[str, SecretRef]
) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in sorted(found.items()):
        if isinstance(value, Secret):
            normal: Any = {"valueFrom": value_from(references[name])}
            short = normal
        else:
            normal = {"value": str(value)}
            short = normal if looks_secret(name, str(value)) else str(value)
        if below.get(name) != normal:
            said[name] = short
    return said


def value_from(ref: SecretRef) -> dict[str, Any]:
    """A reference as it stands below `valueFrom`."""
    if ref.source == "sops":
        file, _, key = ref.name.partition("#")
        return {"sops": {"file": file, "key": key}}
    found = _VAULT.fullmatch(ref.name) if ref.source == "keyVault" else None
    if found is None:
        return {ref.source: ref.name}
    vault, secret, version = found.groups()
    return {"keyVault": {"vault": vault, "secret": secret, **({"version": version} if version else {})}}


def _same(one: Any, other: Any) -> bool:
    return _listed(one) == _listed(other)


def _listed(value: Any) -> Any:
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
