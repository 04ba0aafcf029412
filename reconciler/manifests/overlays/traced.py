"""Documents whose every value knows where it came from, while overlays are laid over them and patches are applied.

A tree of nodes is opened up only where something is changed: what nobody touches stays one plain value with one origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeAlias, cast

from reconciler.core.dataclass import dataclass
from reconciler.core.values import escape, split_pointer
from reconciler.manifests.layers import stands_alone
from reconciler.manifests.repo import Places


class Layer(StrEnum):
    """What a value came from; later ones win."""

    DEFAULTS = "defaults"
    DOCUMENT = "document"
    OVERLAY = "overlay"
    PATCH = "patch"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written.

    Args:
        places: Of the document it was written in.
        pointer: To the value in that document.
    """

    layer: Layer
    places: Places
    pointer: str

    def below(self, step: str) -> Origin:
        """The origin of a value inside of this one."""
        return Origin(self.layer, self.places, f"{self.pointer}/{escape(step)}")


Children: TypeAlias = "dict[str, Node] | list[Node]"


class Node:
    """One value; plain until it is opened to be changed."""

    __slots__ = ("_inside", "_plain", "origin")

    def __init__(self, value: Any, origin: Origin) -> None:
        self._plain = value
        self._inside: Children | None = None
        self.origin = origin

    @property
    def plain(self) -> Any:
        """The value without origins. Parts that nobody changed are the very objects that were given."""
        inside = self._inside
        if inside is None:
            return self._plain
        if isinstance(inside, dict):
            return {key: node.plain for key, node in inside.items()}
        return [node.plain for node in inside]

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a mapping."""
        return isinstance(self._plain if self._inside is None else self._inside, dict)

    def opened(self) -> Children | None:
        """What is inside, to be read or changed; None for a scalar."""
        if self._inside is None:
            origin, value = self.origin, self._plain
            if isinstance(value, dict):
                items = cast("dict[str, Any]", value).items()
                self._inside = {key: Node(inner, origin.below(key)) for key, inner in items}
            elif isinstance(value, list):
                inner = cast("list[Any]", value)
                self._inside = [Node(each, origin.below(str(index))) for index, each in enumerate(inner)]
        return self._inside

    def set(self, value: Any, origin: Origin) -> None:
        """Replaces the value."""
        self._plain, self._inside, self.origin = value, None, origin

    def merge(self, value: Mapping[str, Any], origin: Origin) -> None:
        """Lays a mapping over this one: key by key as `layers.merged` does, so that lists are replaced."""
        inside = self.opened()
        assert isinstance(inside, dict)
        _merge(inside, value, origin, whole=False)

    def nearest(self, pointer: str) -> tuple[Node, str]:
        """The deepest node with an origin of its own on the way to a pointer, and the steps that are left."""
        node = self
        steps = split_pointer(pointer)
        for index, step in enumerate(steps):
            below = node.child(step)
            if below is None:
                return node, "".join(f"/{escape(rest)}" for rest in steps[index:])
            node = below
        return node, ""

    def child(self, step: str) -> Node | None:
        """The node of a key or index, where one was opened."""
        inside = self._inside
        if isinstance(inside, dict):
            return inside.get(step)
        if isinstance(inside, list) and step.isdecimal() and int(step) < len(inside):
            return inside[int(step)]
        return None

    def first(self, *layers: Layer) -> Origin | None:
        """The origin of the first value in here that came from one of some layers."""
        if self.origin.layer in layers:
            return self.origin
        inside = self._inside or ()
        nodes = inside.values() if isinstance(inside, dict) else inside
        return next((found for node in nodes if (found := node.first(*layers)) is not None), None)


def _merge(below: dict[str, Node], value: Mapping[str, Any], origin: Origin, *, whole: bool) -> None:
    for key, inner in value.items():
        here = origin.below(key)
        node = below.get(key)
        if node is None:
            below[key] = Node(inner, here)
            continue
        if whole or not isinstance(inner, dict) or not node.is_mapping or _alone(node, cast("Any", inner)):
            node.set(inner, here)
            continue
        inside = node.opened()
        assert isinstance(inside, dict)
        _merge(inside, cast("dict[str, Any]", inner), here, whole=key == "environmentVariables")


def _alone(node: Node, value: Mapping[str, Any]) -> bool:
    inside = node.opened()
    return stands_alone(value) or (isinstance(inside, dict) and stands_alone(inside))
