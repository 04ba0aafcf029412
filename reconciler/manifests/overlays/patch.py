"""JSON Patch (RFC 6902) on a traced document: either every operation is carried out, or the first that cannot is named.

Values put in by an operation come from the patch, moved and copied ones too: it is the patch that put them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.diff import equal
from reconciler.core.values import escape, split_pointer
from reconciler.manifests.document import LIMITS, Limits
from reconciler.manifests.overlays.traced import Layer, Node, Origin
from reconciler.manifests.repo import Places

Operation = Mapping[str, Any]


class PatchError(Exception):
    """An operation that cannot be carried out.

    Args:
        code: `patch-path`, `patch-test` or `patch-limit`.
        member: The member of the operation that is at fault: `path`, `from`, `value`.

    Attributes:
        pointer: To that member, in the document that the patch stands in.
    """

    def __init__(self, code: str, message: str, member: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.member = member
        self.hint = hint
        self.pointer = ""


def apply_patch(
    root: Node, operations: Sequence[Operation], places: Places, pointer: str, limits: Limits = LIMITS
) -> None:
    """Carries operations out, one after another; after an error the document is in between and of no use.

    Args:
        places: Of the document that the patch stands in.
        pointer: To the patch in that document.
        limits: What it may make: a few copies of copies are as large as one likes.

    Raises:
        PatchError: A path leads nowhere, a test fails, or more is made than the limits allow.
    """
    budget = _Budget(limits)
    for index, operation in enumerate(operations):
        try:
            _apply(root, operation, places, f"{pointer}/{index}", budget)
        except PatchError as error:
            error.pointer = f"{pointer}/{index}/{error.member}"
            raise


class _Budget:
    """How much a patch may still put into a document."""

    def __init__(self, limits: Limits) -> None:
        self._nodes = limits.nodes
        self._depth = limits.depth

    def spend(self, value: Any, path: str, member: str) -> None:
        """Counts a value that is put at a path."""
        self._count(value, path.count("/") + 1, member)

    def _count(self, value: Any, depth: int, member: str) -> None:
        self._nodes -= 1
        if self._nodes < 0 or depth > self._depth:
            what = "keys and values" if self._nodes < 0 else "levels of nesting"
            raise PatchError("patch-limit", f"the patch makes more {what} than a file may have", member)
        if isinstance(value, dict):
            for inner in cast("dict[str, Any]", value).values():
                self._count(inner, depth + 1, member)
        elif isinstance(value, list):
            for inner in cast("list[Any]", value):
                self._count(inner, depth + 1, member)


def _apply(root: Node, operation: Operation, places: Places, pointer: str, budget: _Budget) -> None:
    path: str = operation["path"]
    given = Origin(Layer.PATCH, places, f"{pointer}/value")
    match operation["op"]:
        case "add":
            budget.spend(operation["value"], path, "path")
            _add(root, path, Node(operation["value"], given))
        case "remove":
            _remove(root, path, "path")
        case "replace":
            budget.spend(operation["value"], path, "path")
            _found(root, path, "path").set(operation["value"], given)
        case "test":
            if not equal(_found(root, path, "path").plain, operation["value"]):
                raise PatchError("patch-test", f"the test fails: {path or 'the document'} has another value", "value")
        case "copy":
            plain = _found(root, operation["from"], "from").plain
            budget.spend(plain, path, "from")
            _add(root, path, Node(plain, Origin(Layer.PATCH, places, f"{pointer}/from")))
        case _:
            start: str = operation["from"]
            if path.startswith(f"{start}/"):
                raise PatchError("patch-path", f"{start or 'the document'} cannot be moved into itself", "path")
            plain = _found(root, start, "from").plain
            budget.spend(plain, path, "from")
            if path != start:
                _remove(root, start, "from")
                _add(root, path, Node(plain, Origin(Layer.PATCH, places, f"{pointer}/from")))


def _found(root: Node, path: str, member: str) -> Node:
    node = root
    done = ""
    for step in split_pointer(path):
        inside = node.opened()
        below: Node | None = None
        if isinstance(inside, dict):
            below = inside.get(step)
        elif isinstance(inside, list) and (index := _index(step)) is not None and index < len(inside):
            below = inside[index]
        if below is None:
            raise _nowhere(node, done, step, path, member)
        node, done = below, f"{done}/{escape(step)}"
    return node


def _add(root: Node, path: str, new: Node) -> None:
    steps = split_pointer(path)
    if not steps:
        root.set(new.plain, new.origin)
        return
    above, _, _ = path.rpartition("/")
    owner, step = _found(root, above, "path"), steps[-1]
    inside = owner.opened()
    if isinstance(inside, dict):
        inside[step] = new
        return
    if not isinstance(inside, list):
        raise PatchError("patch-path", f"{above or 'the document'} is neither a mapping nor a list", "path")
    index = len(inside) if step == "-" else _index(step)
    if index is None or index > len(inside):
        raise _nowhere(owner, above, step, path, "path")
    inside.insert(index, new)


def _remove(root: Node, path: str, member: str) -> None:
    steps = split_pointer(path)
    if not steps:
        raise PatchError("patch-path", "the document itself cannot be removed", member)
    _found(root, path, member)
    inside = _found(root, path.rpartition("/")[0], member).opened()
    if isinstance(inside, dict):
        del inside[steps[-1]]
    elif isinstance(inside, list):
        del inside[int(steps[-1])]


def _index(step: str) -> int | None:
    """An index as RFC 6901 §4 writes it: digits without a leading zero."""
    if not (step.isascii() and step.isdigit()) or len(step) > 9 or (step[0] == "0" and step != "0"):
        return None
    return int(step)


def _nowhere(node: Node, done: str, step: str, path: str, member: str) -> PatchError:
    inside = node.opened()
    where = done or "the document"
    if isinstance(inside, list):
        count = f"{len(inside)} item{'s' * (len(inside) != 1)}"
        return PatchError("patch-path", f"{path} leads nowhere: {where} has {count}", member)
    if inside is None:
        return PatchError("patch-path", f"{path} leads nowhere: {where} is a single value", member)
    from reconciler.manifests.validate import did_you_mean

    known = sorted(inside)
    hint = did_you_mean(step, known) or (f"there are {', '.join(known)}" if known else "")
    return PatchError("patch-path", f"{path} leads nowhere: {where} has no '{step}'", member, hint)
