"""One driver for each target, by its type; where nothing is opened, only that half of a driver that renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.problems import Problem
from reconciler.manifests.defaults import TARGET_BLOCKS

if TYPE_CHECKING:
    from reconciler.core.deployment import Target
    from reconciler.core.driver import Renderer

_DRIVERS = ("local", "aks")
R = TypeVar("R", bound="Renderer")


def _complete(target: Target) -> Target:
    """A target that only the record of an older version names, with the settings that are new since."""
    missing = TARGET_BLOCKS[target.type].keys() - target.block.keys()
    return replace(target, block={**TARGET_BLOCKS[target.type], **target.block}) if missing else target


@dataclass
class TargetDrivers(Generic[R]):
    """A driver for each target, kept while the target stays what it is. Safe to call from many threads.

    A driver that another one replaces may be at work in a thread that asked for it before; it is taken with the rest.

    Args:
        make: Makes the driver of a target whose type has one.
        allowed: Names of targets that may be used; None for all.
    """

    make: Callable[[Target], R]
    allowed: Sequence[str] | None = None
    _made: dict[str, tuple[Target, R]] = field(default_factory=dict[str, "tuple[Target, R]"], init=False)
    _replaced: list[R] = field(default_factory=list["R"], init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def __call__(self, targets: Mapping[str, Target]) -> tuple[Mapping[str, R], Sequence[Problem]]:
        """Drivers by target name, and a problem for each target that has none."""
        with self._lock:
            return self._of(targets)

    def _of(self, targets: Mapping[str, Target]) -> tuple[Mapping[str, R], Sequence[Problem]]:
        found: dict[str, R] = {}
        problems: list[Problem] = []
        for name, target in sorted(targets.items()):
            problem = self._refused(target)
            if problem is not None:
                problems.append(problem)
                continue
            known = self._made.get(name)
            if known is None or known[0].type != target.type or known[0].block != target.block:
                if known is not None:
                    self._replaced.append(known[1])
                known = self._made[name] = (target, self.make(_complete(target)))
            found[name] = known[1]
        return found, problems

    def _refused(self, target: Target) -> Problem | None:
        subject = f"Target/{target.name}"
        if self.allowed is not None and target.name not in self.allowed:
            listed = ", ".join(self.allowed) or "none"
            return Problem(
                "target-not-allowed",
                f"the operator's settings do not allow the target '{target.name}'",
                target.position,
                f"allowed: {listed} (targets.allowed)",
                subject,
            )
        if target.type not in _DRIVERS:
            return Problem(
                "no-driver",
                f"target '{target.name}' is of type {target.type}, which this version cannot deploy to or plan for",
                target.position,
                f"its documents are checked, its services are left alone; types with a driver: {', '.join(_DRIVERS)}",
                subject,
            )
        return None

    def taken(self) -> list[R]:
        """All drivers, replaced ones too, handed over to be closed; the caller has ended what works with them."""
        with self._lock:
            drivers = [*self._replaced, *(driver for _, driver in self._made.values())]
            self._replaced.clear()
            self._made.clear()
        return drivers
