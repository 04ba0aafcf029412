"""Defaults, target and service laid over each other: later layers win, mappings merge key by key, lists do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from reconciler.core.dataclass import replace
from reconciler.core.deployment import Auth, Settings, SmokeTest
from reconciler.core.patterns import pattern_of
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Position
from reconciler.core.secrets import SecretRef
from reconciler.manifests.defaults import COMMON, COMMON_BY_TYPE, SERVICE_BLOCKS

_COMMON = frozenset(COMMON)
Layer = Mapping[str, Any]


def stands_alone(mapping: Mapping[str, Any]) -> bool:
    """Whether a mapping is one value that is replaced as a whole: a reference to a secret."""
    return "valueFrom" in mapping


def merged(lower: Layer, upper: Layer) -> dict[str, Any]:
    """Two mappings as one; a variable and a secret reference each count as one value."""
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        if not isinstance(value, dict) or not isinstance(below, dict):
            result[key] = value
            continue
        under, over = cast("Layer", below), cast("Layer", value)
        if stands_alone(under) or stands_alone(over):
            result[key] = over
        elif key == "environmentVariables":
            result[key] = {**under, **over}
        else:
            result[key] = merged(under, over)
    return result


def made_by_itself(spec: Layer) -> bool:
    """Whether a target is not only named, but made as its document says."""
    block: Layer = spec.get(spec["type"]) or {}
    return block.get("create") is not None


def plain(value: Any) -> Any:
    """A block with `valueFrom` as secret references and variables as their values; free-form parts as they are."""
    if isinstance(value, list):
        return [plain(inner) for inner in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    mapping = cast("dict[str, Any]", value)
    if "valueFrom" in mapping:
        return secret(mapping)
    return {key: _plain_field(key, inner) for key, inner in mapping.items()}


def _plain_field(key: str, value: Any) -> Any:
    if key in _FREE_FORM:
        return value
    if key == "environmentVariables":
        return {name: variable(inner) for name, inner in sorted(value.items())}
    return variable(value) if key in _VARIABLES else plain(value)


def variable(value: Any) -> Any:
    """A text or a secret reference, from the normal form of either."""
    if value is None:
        return None
    literal = value.get("value")
    return literal if literal is not None else secret(value)


_FREE_FORM = frozenset(
    (
        "createOptions",
        "propertiesDesired",
        "properties",
        "labels",
        "routes",
        "ingressAnnotations",
        "nodeSelector",
        "extendedResources",
        "tags",
    )
)
_VARIABLES = frozenset(("user", "username"))


def secret(slot: Mapping[str, Any] | None) -> SecretRef | None:
    """The reference in a secret's slot."""
    if slot is None:
        return None
    ((source, where),) = ((source, where) for source, where in slot["valueFrom"].items() if where is not None)
    return SecretRef(source, _place(source, where))


def _place(source: str, where: Any) -> str:
    if source == "keyVault":
        return "/".join(filter(None, (where["vault"].rstrip("/"), where["secret"], where.get("version"))))
    return f"{where['file']}#{where['key']}" if source == "sops" else where


class SharedLayers:
    """What holds for every service of one target and one inference config before its own document: laid once for all.

    Args:
        target_type: The target's.
        variables: Environment variables below all layers (the inference config's).
        layers: `deployment` of the defaults and the target; in each, the block of the type wins over the common
            settings beside it.
        policy: Of the two.
    """

    def __init__(self, target_type: str, variables: Layer, layers: Iterable[Layer], policy: Policy) -> None:
        self._type = target_type
        self._common: dict[str, Any] = {**COMMON_BY_TYPE.get(target_type, {}), "environmentVariables": variables}
        self._block: dict[str, Any] = SERVICE_BLOCKS[target_type]
        for layer in layers:
            self._common, self._block = self._with(layer)
        self._settings = _settings(self._common, _variables(self._common), self._plain(self._common, self._block))
        self._policy = policy
        self._policies: dict[tuple[bool, ...], Policy] = {}

    def settings(self, layer: Layer) -> Settings:
        """The settings of a service.

        Args:
            layer: Its `deployment`.
        """
        if not layer:
            return self._settings
        common, block = self._with(layer)
        ours = self._settings
        # Most services change neither, and then share them.
        same = common["environmentVariables"] is self._common["environmentVariables"]
        variables = ours.environment_variables if same else _variables(common)
        kept = block is self._block and ("replicas" in common) == ("replicas" in self._common)
        return _settings(common, variables, ours.block if kept else self._plain(common, block))

    def _plain(self, common: Layer, block: Layer) -> Any:
        if self._type == "aks" and block["autoscale"]["enabled"] is None:
            # As Azure ML has it: on unless a number of replicas is given, at whatever layer.
            block = merged(block, {"autoscale": {"enabled": "replicas" not in common}})
        return plain(block)

    def _with(self, layer: Layer) -> tuple[dict[str, Any], dict[str, Any]]:
        common, block = self._common, self._block
        own: Layer = layer.get(self._type) or {}
        for part in (layer, own):
            if chosen := {key: value for key, value in part.items() if key in _COMMON}:
                common = merged(common, chosen)
        if chosen := {key: value for key, value in own.items() if key not in _COMMON}:
            block = merged(block, chosen)
        return common, block

    def policy(self, layer: Layer, at: Callable[[str], Position]) -> Policy:
        """The policy of a service.

        Args:
            layer: Its `policy`.
            at: Where a value of its document stands.
        """
        if not layer:
            return self._policy
        if layer.get("drift"):
            return with_policy(self._policy, "service", layer, at)
        below = self._policy
        flags = tuple([layer.get(key, getattr(below, key)) for key in _FLAGS])
        known = self._policies.get(flags)
        if known is None:
            known = self._policies[flags] = with_policy(below, "service", layer, at)
        return known


def _settings(common: Layer, variables: Mapping[str, Any], block: Any) -> Settings:
    known: dict[str, Any] = {_SETTINGS[key]: value for key, value in common.items()}
    known["environment_variables"] = variables
    if "cors_origins" in known:
        known["cors_origins"] = tuple(known["cors_origins"])
    return Settings(**known, block=block)


def _variables(common: Layer) -> Mapping[str, Any]:
    return {name: variable(value) for name, value in sorted(common["environmentVariables"].items())}


_SETTINGS = {key: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key) for key in COMMON}
_FLAGS = ("prune", "protect", "suspend", "adopt")


def with_policy(below: Policy, origin: str, layer: Layer, at: Callable[[str], Position]) -> Policy:
    """A policy with another one laid over it.

    The last rule that matches wins: rules of later layers come last, within a layer the narrower pattern does, and of
    equally narrow ones the one that leaves more to others.

    Args:
        origin: Whose policy it is, in words.
        layer: The `policy` of a document.
        at: Where a value of that document stands.
    """
    known: dict[str, Any] = {key: layer[key] for key in _FLAGS if key in layer}
    drift: Layer = layer.get("drift") or {}
    if "default" in drift:
        known["drift"], known["origin"] = FieldPolicy(drift["default"]), origin
    own = [
        DriftRule(pattern, FieldPolicy(key), origin, at(f"/spec/policy/drift/{key}/{index}"))
        for key in _FROM_HEALED_TO_IGNORED
        for index, pattern in enumerate(drift.get(key, ()))
    ]
    own.sort(key=lambda rule: pattern_of(rule.pattern).rank)
    return replace(below, **known, rules=(*below.rules, *own))


_FROM_HEALED_TO_IGNORED = ("heal", "report", "createOnly", "ignore")


_NO_AUTH = Auth()


def auth(spec: Layer, target_type: str, service: str) -> Auth:
    """Keys of the endpoint, generated where none is referred to.

    On by default at Kubernetes alone, as AksWebservice has it (azureml-core 1.61).
    """
    enabled = spec.get("enabled")
    if not (target_type == "aks" if enabled is None else enabled):
        return _NO_AUTH
    return Auth(
        True,
        secret(spec.get("primaryKey")) or SecretRef("generated", f"{service}/primary"),
        secret(spec.get("secondaryKey")) or SecretRef("generated", f"{service}/secondary"),
    )


def smoke_tests(specs: Sequence[Layer]) -> tuple[SmokeTest, ...]:
    """The tests of a service, named by their place where they have no name."""
    return tuple(
        SmokeTest(
            name=spec.get("name") or f"test-{index}",
            request=spec.get("request"),
            body=spec.get("body"),
            content_type=spec.get("contentType", "application/json"),
            method=spec.get("method", "POST"),
            path=spec.get("path", "/score"),
            expect=spec.get("expect", {}),
        )
        for index, spec in enumerate(specs, 1)
    )
