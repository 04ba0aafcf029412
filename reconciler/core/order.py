"""Dependency order: what comes first, and what goes round in a circle."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

from reconciler.core.errors import InvalidError

Node = TypeVar("Node")


def in_order(nodes: Iterable[Node], depends_on: Mapping[Node, Collection[Node]]) -> list[Node]:
    """The nodes with each one after those it depends on, otherwise in the given order; others are left out.

    Raises:
        InvalidError: Some depend on each other in a circle, which the message spells out.
    """
    position = {node: index for index, node in enumerate(nodes)}
    if not any(depends_on.values()):
        return list(position)
    sorter: TopologicalSorter[Node] = TopologicalSorter()
    for node in position:
        sorter.add(node, *(d for d in depends_on.get(node, ()) if d in position))
    try:
        sorter.prepare()
    except CycleError as exc:
        circle = " -> ".join(str(node) for node in reversed(exc.args[1]))
        raise InvalidError(
            f"these depend on each other in a circle: {circle}", hint="take one of the references out"
        ) from exc
    ordered: list[Node] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=position.__getitem__)
        ordered.extend(ready)
        sorter.done(*ready)
    return ordered
