"""One place of a resource as seen from all sides of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.dataclass import dataclass
from reconciler.core.values import MISSING, split_pointer


@dataclass(frozen=True, slots=True)
class Sides:
    """One place; `MISSING` where a side has nothing there.

    Args:
        desired: What Git wants. observed: What is there. sent: What was last written, answered: what the target said
            to it. interrupted: What a write whose result is unknown was to write.
    """

    desired: Any
    observed: Any
    sent: Any
    answered: Any
    interrupted: Any

    @property
    def owners(self) -> list[Any]:
        """The sides that make a field ours, where they have it."""
        return [s for s in (self.desired, self.sent, self.interrupted) if s is not MISSING]

    def all(self) -> tuple[Any, ...]:
        """The five sides in their order."""
        return (self.desired, self.observed, self.sent, self.answered, self.interrupted)

    def child(self, step: str | int) -> Sides:
        """The same one step further down."""
        return Sides(*(_step(side, step) for side in self.all()))

    def keys(self, *, foreign: bool) -> list[str] | None:
        """The keys to go through where this is a map on all sides that matter; None where it must be taken whole.

        Args:
            foreign: Also those that only the target has.
        """
        owners = [mapping(side) for side in self.owners]
        observed = mapping(self.observed)
        if None in owners or (observed is None and self.observed is not MISSING):
            return None
        keys: set[str] = set()
        for side in (*owners, *((observed,) if foreign else ())):
            keys |= side.keys() if side is not None else set()
        return sorted(keys) or ([] if observed else None)

    def length(self) -> int:
        """The length that all sides have as lists; 0 where they are not lists of one length."""
        present = [side for side in self.all() if side is not MISSING]
        if MISSING in (self.desired, self.observed) or not all(is_list(side) for side in present):
            return 0
        lengths = {len(cast("Sequence[Any]", side)) for side in present}
        return lengths.pop() if len(lengths) == 1 else 0


def mapping(side: Any) -> Mapping[str, Any] | None:
    """The side as a map, if it is one."""
    return cast("Mapping[str, Any]", side) if isinstance(side, Mapping) else None


def is_list(side: Any) -> bool:
    """Whether the side is a list."""
    return isinstance(side, (list, tuple))


def covers(owner: Any, pointer: str) -> bool:
    """Whether a side has this place, or had a plain value or list at or above it that the target made it from."""
    current = owner
    for step in split_pointer(pointer):
        if not isinstance(current, Mapping):
            return True
        current = cast("Mapping[str, Any]", current).get(step, MISSING)
        if current is MISSING:
            return False
    return True


def by_name(side: Any) -> dict[str, Mapping[str, Any]] | None:
    """The items of a list by their `name`, in their order; none for nothing; None if they have no names of their own.

    Such lists are compared by the names of their items, whatever place they stand at.
    """
    if side is MISSING:
        return {}
    if not is_list(side):
        return None
    named: dict[str, Mapping[str, Any]] = {}
    for item in cast("Sequence[Any]", side):
        name = cast("Mapping[str, Any]", item).get("name") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or name in named:
            return None
        named[name] = cast("Mapping[str, Any]", item)
    return named


def _step(side: Any, step: str | int) -> Any:
    if isinstance(step, int):
        return side[step] if is_list(side) else MISSING
    return cast("Mapping[str, Any]", side).get(step, MISSING) if isinstance(side, Mapping) else MISSING
