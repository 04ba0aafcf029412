"""A driver of a cluster that dies at one of its writes, before or after the cluster took it."""

from __future__ import annotations

from reconciler.core.change import Change
from reconciler.core.driver import Done, InProgress
from reconciler.targets.aks.driver import AksDriver


class Killed(BaseException):
    """The process is gone."""


class Mortal(AksDriver):
    """Dies where `at` says: before or after, and at which of the next writes."""

    at: tuple[str, int] | None = None

    def apply(self, change: Change) -> Done | InProgress:
        if self.at is None:
            return super().apply(change)
        when, left = self.at
        self.at = (when, left - 1) if left > 1 else None
        if left > 1:
            return super().apply(change)
        if when == "after":
            super().apply(change)
        raise Killed
