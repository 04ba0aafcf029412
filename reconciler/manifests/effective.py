"""The documents that count in the end: overlays laid over them, layers folded into the services, each value explained.

Written out as manifests they say by themselves what the repo says with its defaults, targets and overlays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from reconciler.core.dataclass import dataclass, field
from reconciler.core.problems import Position
from reconciler.core.values import MISSING, lookup, walk
from reconciler.manifests import layers
from reconciler.manifests.defaults import COMMON
from reconciler.manifests.overlays.origins import Origins
from reconciler.manifests.overlays.traced import Layer
from reconciler.manifests.repo import Manifest, Repo
from reconciler.manifests.resolve import BUILT_IN
from reconciler.manifests.validate import API_VERSION

_LISTS = ("heal", "report", "ignore", "createOnly")
_FOLDED = ("deployment", "policy")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from.

    Args:
        layer: What set it.
        document: Kind and name of the document that has it (`Defaults/defaults`), with or without the overlay's help.
        position: The line that set it; None for what nobody wrote.
        overlay: The overlay's name, where the layer is one or a patch in one.
    """

    layer: Layer
    document: str
    position: Position | None
    overlay: str = ""


# By the pointer to a leaf: the document that has it, and where; None for what nobody wrote.
_Leaves: TypeAlias = "dict[str, tuple[Manifest, str] | None]"


@dataclass(frozen=True, slots=True)
class Effective:
    """One document.

    Args:
        value: The whole of it, as one would write it.
    """

    kind: str
    name: str
    value: Mapping[str, Any]
    _leaves: _Leaves = field(repr=False)

    @property
    def subject(self) -> str:
        """For reports: `Service/diabetes`."""
        return f"{self.kind}/{self.name}"

    def source(self, pointer: str) -> Source | None:
        """Where a leaf of the `spec` comes from; None for what is no leaf of it."""
        if pointer not in self._leaves:
            return None
        found = self._leaves[pointer]
        return _source(*found) if found is not None else Source(Layer.DEFAULTS, "", None)

    def sources(self) -> Iterator[tuple[str, Source]]:
        """Every leaf of the `spec` with its source."""
        for pointer in self._leaves:
            source = self.source(pointer)
            if source is not None:
                yield pointer, source


class _Part:
    """What one document contributes to a part of a service's `spec`, and where it stands there."""

    __slots__ = ("document", "lead", "value")

    def __init__(self, document: Manifest, lead: str, value: Mapping[str, Any]) -> None:
        self.document = document
        self.lead = lead
        self.value = value


def effective(repo: Repo, *, services: bool = True) -> Iterator[Effective]:
    """Every document of an environment but the `Defaults`, which are folded into the services."""
    for kind, documents in (("Target", repo.targets), ("InferenceConfig", repo.inference)):
        for _, document in sorted(documents.items()):
            left_out: tuple[str, ...] = _FOLDED if kind == "Target" else ()
            if left_out and layers.made_by_itself(document.spec):
                # The policy holds for what the target is made of, too.
                left_out = ("deployment",)
            yield _whole(document, {k: v for k, v in document.spec.items() if k not in left_out})
    for _, documents in sorted(repo.models.items()):
        yield from (_whole(document, document.spec) for document in documents)
    for name in sorted(repo.services) if services else ():
        yield effective_service(repo, name)


def effective_service(repo: Repo, name: str) -> Effective:
    """A service with the layers below it folded in.

    Raises:
        KeyError: There is none of that name.
    """
    service = repo.services[name]
    defaults = repo.defaults
    wanted: str | None = service.spec.get("target")
    by_default = defaults.spec.get("target") if defaults is not None else None
    target = repo.targets.get(wanted or by_default or BUILT_IN)
    kind = target.spec["type"] if target is not None else BUILT_IN
    stack = [document for document in (defaults, target, service) if document is not None]
    spec: dict[str, Any] = {"target": wanted or by_default or BUILT_IN}
    leaves: _Leaves = {"/spec/target": None}
    if wanted:
        leaves["/spec/target"] = (service, "/spec/target")
    elif defaults is not None and by_default:
        leaves["/spec/target"] = (defaults, "/spec/target")
    for key, value in service.spec.items():
        if key not in (*_FOLDED, "target"):
            spec[key] = value
            leaves |= {pointer: (service, pointer) for pointer, _ in walk({"spec": {key: value}})}
    inference = repo.inference.get(service.spec["inference"])
    deployment = _deployment(kind, stack, inference, leaves)
    policy = _policy(stack, leaves)
    spec |= {key: value for key, value in (("deployment", deployment), ("policy", policy)) if value}
    return _document(service, spec, leaves)


def _whole(document: Manifest, spec: Mapping[str, Any]) -> Effective:
    return _document(document, spec, {pointer: (document, pointer) for pointer, _ in walk({"spec": spec})})


def _document(document: Manifest, spec: Mapping[str, Any], leaves: _Leaves) -> Effective:
    metadata: dict[str, Any] = {"name": document.name}
    if document.description:
        metadata["description"] = document.description
    if document.tags:
        metadata["tags"] = dict(document.tags)
    value = {"apiVersion": API_VERSION, "kind": document.kind, "metadata": metadata, "spec": spec}
    return Effective(document.kind, document.name, value, leaves)


def _source(document: Manifest, pointer: str) -> Source:
    marks = document.marks
    if isinstance(marks, Origins):
        origin, rest = marks.origin(pointer)
        if origin.layer is not Layer.DOCUMENT:
            position = origin.places.at(origin.pointer + rest)
            return Source(origin.layer, document.subject, position, marks.overlay)
    layer = Layer.DEFAULTS if document.kind == "Defaults" else Layer.DOCUMENT
    return Source(layer, document.subject, document.at(pointer))


def _deployment(kind: str, stack: Sequence[Manifest], inference: Manifest | None, leaves: _Leaves) -> dict[str, Any]:
    """The settings that are set anywhere, common ones beside the block of the target's type."""
    common: list[_Part] = []
    block: list[_Part] = []
    variables = inference.spec.get("environmentVariables") if inference is not None else None
    if inference is not None and variables:
        common.append(_Part(inference, "/spec", {"environmentVariables": variables}))
    for document in stack:
        settings: Mapping[str, Any] = document.spec.get("deployment") or {}
        own: Mapping[str, Any] = settings.get(kind) or {}
        for lead, values in (("/spec/deployment", settings), (f"/spec/deployment/{kind}", own)):
            common.append(_Part(document, lead, {k: v for k, v in values.items() if k in COMMON}))
        block.append(_Part(document, f"/spec/deployment/{kind}", {k: v for k, v in own.items() if k not in COMMON}))
    merged = _merged(common, "/spec/deployment", leaves)
    of_type = _merged(block, f"/spec/deployment/{kind}", leaves)
    return {**merged, kind: of_type} if of_type else merged


def _policy(stack: Sequence[Manifest], leaves: _Leaves) -> dict[str, Any]:
    """The policy; of drift rules with the same pattern the one that counts, the others in the order of their layers."""
    parts: list[_Part] = []
    rules: dict[str, tuple[str, Manifest, str]] = {}
    for document in stack:
        policy: Mapping[str, Any] = document.spec.get("policy") or {}
        drift: Mapping[str, Any] = policy.get("drift") or {}
        default = {"drift": {"default": drift["default"]}} if "default" in drift else {}
        own = {key: value for key, value in policy.items() if key != "drift"}
        parts.append(_Part(document, "/spec/policy", {**own, **default}))
        for key in _LISTS:
            for index, pattern in enumerate(drift.get(key, ())):
                rules.pop(pattern, None)
                rules[pattern] = (key, document, f"/spec/policy/drift/{key}/{index}")
    merged = _merged(parts, "/spec/policy", leaves)
    listed: dict[str, list[str]] = {}
    for pattern, (key, document, pointer) in rules.items():
        patterns = listed.setdefault(key, [])
        leaves[f"/spec/policy/drift/{key}/{len(patterns)}"] = (document, pointer)
        patterns.append(pattern)
    if listed:
        merged["drift"] = {**merged.get("drift", {}), **listed}
    return merged


def _merged(parts: Sequence[_Part], lead: str, leaves: _Leaves) -> dict[str, Any]:
    """Parts laid over each other. What stands in the end at a leaf is from the last of them that has that leaf."""
    found: dict[str, Any] = {}
    for part in parts:
        found = layers.merged(found, part.value)
    for pointer, _ in walk(found) if found else ():
        part = next(part for part in reversed(parts) if lookup(part.value, pointer) is not MISSING)
        leaves[lead + pointer] = (part.document, part.lead + pointer)
    return found
