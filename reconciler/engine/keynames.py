"""Whose name a service's generated keys are made of: its own, or the one it had first, so that a move changes no key.

A key is an HMAC of such a name, a slot and a rotation counter. When a service moves, the name goes with it; whoever is
served under its former name later gets keys of another, since two services must not share them. What was decided
stands in the record, beside the rotation counters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from reconciler.core.dataclass import dataclass, field

FACT = "key-names"


@dataclass(frozen=True, slots=True)
class Names:
    """The names that the keys of services are made of, as known now.

    Args:
        of: The name for a service and what its document says it moved from.
        others: Services that may have another than their own though their documents do not say that they moved.
    """

    of: Callable[[str, str], str]
    others: Collection[str] = ()


def by_document() -> Names:
    """As far as the documents alone can tell."""
    return Names(lambda service, moved_from: moved_from or service)


@dataclass(frozen=True, slots=True)
class KeyNames:
    """The names as recorded.

    Args:
        bearers: Services that moved -> the name that their keys are made of, and the service they moved from.
        vacant: Former names of services that moved -> the name for the keys of whoever is served under it next.
    """

    bearers: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, "tuple[str, str]"])
    vacant: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of_fact(cls, fact: Any) -> KeyNames:
        """From the record; nothing moved yet if there is none."""
        if not fact:
            return cls()
        return cls({service: (name, before) for service, (name, before) in fact["bearers"].items()}, fact["vacant"])

    def to_fact(self) -> dict[str, Any]:
        """For the record."""
        return {"bearers": {service: list(borne) for service, borne in self.bearers.items()}, "vacant": self.vacant}

    def of(self, service: str, moved_from: str = "", applied: Callable[[str], bool] = lambda name: True) -> str:
        """The name that a service's keys are made of.

        Args:
            moved_from: What its document says it was before.
            applied: Whether a service was served before: one that was keeps its keys, whatever is added to its
                document afterwards.
        """
        name, before = self.bearers.get(service, ("", ""))
        if name and (moved_from in ("", before) or applied(service)):
            return name
        if moved_from and not applied(service):
            return self.of(moved_from)
        return self.vacant.get(service, service)

    @property
    def others(self) -> frozenset[str]:
        """Services that may have another name than their own."""
        return frozenset((*self.bearers, *self.vacant))

    def moved(self, service: str, before: str) -> KeyNames:
        """The names once a service serves under another one."""
        if self.bearers.get(service, ("", ""))[1] == before:
            return self
        name = self.of(before)
        others = {bearer: borne for bearer, borne in self.bearers.items() if bearer != before}
        bearers = {**others, service: (name, before)}
        used = {*(borne for borne, _ in bearers.values()), *self.vacant.values()}
        vacant = {**self.vacant, before: _unused(before, used)}
        vacant.pop(service, None)
        return KeyNames(bearers, vacant)


def _unused(name: str, used: set[str]) -> str:
    """`name`, or `name#2` and so on; `#` is in no service's name."""
    candidate, number = name, 1
    while candidate in used:
        number += 1
        candidate = f"{name}#{number}"
    return candidate
