"""What is another object than before, found without looking at what stayed the same.

Whoever computes thousands of things again and again keeps those that did not change as the same objects; where so few
change that looking at all of them would be most of the work, comparing references tells which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from operator import is_not
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def changed_places(after: Sequence[V], before: Sequence[V]) -> list[int] | None:
    """Indices at which another object stands than before; None if there are more or fewer of them."""
    if len(after) != len(before):
        return None
    return list(compress(range(len(after)), map(is_not, after, before)))


def changed_keys(after: Mapping[K, V], before: Mapping[K, V]) -> list[K] | None:
    """Keys of which the value is another object than before; None if they are others, or in another order."""
    if after is before:
        return []
    if len(after) != len(before) or list(after) != list(before):
        return None
    return list(compress(after, map(is_not, after.values(), before.values())))
