"""Dependency order: what comes first, and what goes round in a circle."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from reconciler.core.errors import InvalidError

Node = TypeVar("Node")
_GENERATIONS = 6


def in_order(nodes: Iterable[Node], depends_on: Mapping[Node, Collection[Node]]) -> list[Node]:
    """The nodes with each one after those it depends on, otherwise in the given order; others are left out.

    Raises:
        InvalidError: Some depend on each other in a circle, which the message spells out.
    """
    position = {node: index for index, node in enumerate(nodes)}
    ordered: list[Node] = []
    done: set[Node] = set()
    left: Sequence[Node] = list(position)
    # Most plans have two or three generations, which simple passes find faster.
    for _ in range(_GENERATIONS):
        ready = [
            node
            for node in left
            if not (needs := depends_on.get(node)) or all(need in done or need not in position for need in needs)
        ]
        ordered += ready
        if len(ready) == len(left):
            return ordered
        done.update(ready)
        left = [node for node in left if node not in done]
    return [*ordered, *_sorted(left, depends_on)]


def _sorted(nodes: Sequence[Node], depends_on: Mapping[Node, Collection[Node]]) -> list[Node]:
    from graphlib import CycleError, TopologicalSorter

    position = {node: index for index, node in enumerate(nodes)}
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
