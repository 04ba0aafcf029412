"""What is remembered: facts about immutable content between runs, and what was made of an object within one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Facts(Protocol):
    """Plain values found out about content that never changes; a memory only, so any of them may be gone again."""

    def fact(self, name: str, key: str) -> Any:
        """Something found out before, or None."""
        ...

    def remember(self, name: str, key: str, value: Any) -> None:
        """Remembers a plain value: text, numbers, booleans, None, lists, tuples and maps of them."""
        ...


class ByIdentity(Generic[K, V]):
    """What was made of an object, found by which object it is: thousands of services may share one.

    Args:
        make: Makes it; called once an object, while that is remembered.
        most: So many are remembered.
    """

    def __init__(self, make: Callable[[K], V], most: int = 65_536) -> None:
        self._make = make
        self._most = most
        # The object is kept beside what was made of it, so that its identity stays taken.
        self._made: dict[int, tuple[K, V]] = {}

    def __getitem__(self, key: K) -> V:
        known = self._made.get(id(key))
        if known is None:
            if len(self._made) >= self._most:
                self._made.clear()
            known = self._made[id(key)] = (key, self._make(key))
        return known[1]
