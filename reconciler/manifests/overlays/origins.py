"""Where the values of a document with overlays stand: in the document, in the overlay, or in a patch of it.

Found by laying the overlay over the document again: positions are needed for problems and explanations alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.core.problems import Position
from reconciler.manifests.overlays.patch import apply_patch
from reconciler.manifests.overlays.traced import Layer, Node, Origin
from reconciler.manifests.repo import Manifest, Places


class Applied(NamedTuple):
    """An override, with the pointer to it in the overlay."""

    pointer: str
    override: Mapping[str, Any]


def lay(base: Manifest, applied: Sequence[Applied], overlay: Places) -> Node:
    """The `spec` of a document with overrides laid over it, as the mapping `{spec: …}`.

    Raises:
        PatchError: Of the last override that was begun.
    """
    root = Node({"spec": base.spec}, Origin(Layer.DOCUMENT, base.marks, ""))
    for each in applied:
        spec = each.override.get("spec")
        if spec is not None:
            root.merge({"spec": spec}, Origin(Layer.OVERLAY, overlay, each.pointer))
        apply_patch(root, each.override.get("patch", ()), overlay, f"{each.pointer}/patch")
    return root


class Origins:
    """The places of a document with overlays; see `repo.Places`.

    Args:
        base: The document without them.
        applied: What was laid over it.
        overlay: The overlay that holds these overrides.
    """

    __slots__ = ("_applied", "_base", "_overlay")

    def __init__(self, base: Manifest, applied: tuple[Applied, ...], overlay: Manifest) -> None:
        self._base = base
        self._applied = applied
        self._overlay = overlay

    def follow(self, applied: tuple[Applied, ...], overlay: Manifest) -> None:
        """Takes another version of the overlay, in which the same overrides may stand at other places."""
        self._applied, self._overlay = applied, overlay

    @property
    def overlay(self) -> str:
        """The name of the overlay."""
        return self._overlay.name

    def traced(self) -> Node:
        """The mapping `{spec: …}` with origins."""
        return lay(self._base, self._applied, self._overlay.marks)

    def origin(self, pointer: str) -> tuple[Origin, str]:
        """Of the nearest value that was written as one, and the steps from there to the pointer."""
        node, rest = self.traced().nearest(pointer)
        return node.origin, rest

    def at(self, pointer: str = "", *, key: bool = False) -> Position:
        """Where a value (or its key) stands, in whichever file that is."""
        origin, rest = self.origin(pointer)
        return origin.places.at(origin.pointer + rest, key=key)


class Blame:
    """Where the cause of a problem stands that only the overlay brought about: in the overlay."""

    __slots__ = ("_last", "_overlay", "_root")

    def __init__(self, root: Node, applied: Sequence[Applied], overlay: Places) -> None:
        self._root = root
        self._overlay = overlay
        last = applied[-1]
        self._last = f"{last.pointer}/{'patch' if last.override.get('patch') else 'spec'}"

    def at(self, pointer: str = "", *, key: bool = False) -> Position:
        """The value, if the overlay put it there; else what the overlay put into it; else the last override."""
        node, rest = self._root.nearest(pointer)
        if node.origin.layer is not Layer.DOCUMENT:
            return node.origin.places.at(node.origin.pointer + rest, key=key)
        inside = None if rest else node.first(Layer.OVERLAY, Layer.PATCH)
        return inside.places.at(inside.pointer, key=True) if inside else self._overlay.at(self._last, key=True)
