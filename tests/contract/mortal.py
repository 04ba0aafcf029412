"""Drivers that die at one of their writes, before or after the target took it."""

from __future__ import annotations

from typing import TypeVar

from reconciler.core.change import Change
from reconciler.core.driver import Done, InProgress
from reconciler.targets.aks.clusters.driver import ClustersDriver
from reconciler.targets.aks.driver import AksDriver

from .fixture import DriverFixture

M = TypeVar("M", bound="Mortal | MortalClusters")


class Killed(BaseException):
    """The process is gone."""


class Dying:
    """Dies where `at` says: before or after, and at which of the next writes."""

    at: tuple[str, int] | None = None

    def apply(self, change: Change) -> Done | InProgress:
        if self.at is None:
            return super().apply(change)  # type: ignore[misc]
        when, left = self.at
        self.at = (when, left - 1) if left > 1 else None
        if left > 1:
            return super().apply(change)  # type: ignore[misc]
        if when == "after":
            super().apply(change)  # type: ignore[misc]
        raise Killed


class Mortal(Dying, AksDriver):
    """The driver of a cluster's objects."""


class MortalClusters(Dying, ClustersDriver):
    """The driver of clusters."""


class MortalFixture(DriverFixture):
    """A target whose drivers die when they are told to."""

    def __init__(self) -> None:
        self.drivers: list[Mortal | MortalClusters] = []
        self.death: tuple[str, int] | None = None

    def made(self, driver: M) -> M:
        """A driver, which dies when the others do."""
        driver.at = self.death
        self.drivers.append(driver)
        return driver

    def crash(self, when: str, write: int) -> type[BaseException]:
        """See `DriverFixture`."""
        self.death = (when, write) if write else None
        for driver in self.drivers:
            driver.at = self.death
        return Killed
