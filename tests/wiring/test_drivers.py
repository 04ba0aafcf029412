"""Drivers by target: kept while the target stays, closed when nothing works with them any more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

from reconciler.core.deployment import Target
from reconciler.core.driver import Driver
from reconciler.wiring.drivers import TargetDrivers

LAPTOP = Target("laptop", "local", {"engine": "process"})


class Counted:
    """A driver that knows how often it was closed."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.closed = 0

    def close(self) -> None:
        """Counts."""
        self.closed += 1


def drivers() -> tuple[TargetDrivers[Driver], list[Any]]:
    """Drivers, and all that were made."""
    made: list[Any] = []

    def make(target: Target) -> Driver:
        made.append(Counted(target))
        return cast("Driver", made[-1])

    return TargetDrivers(make), made


def test_a_replaced_driver_is_closed_at_the_end() -> None:
    """Who asked before the target changed may still be at work with the driver that it got."""
    of, made = drivers()
    before, _ = of({"laptop": LAPTOP})
    after, _ = of({"laptop": replace(LAPTOP, block={"engine": "auto"})})
    assert before["laptop"] is not after["laptop"]
    assert [d.closed for d in made] == [0, 0]
    for _ in range(2):
        for driver in of.taken():
            driver.close()
    assert [d.closed for d in made] == [1, 1]


def test_many_threads_get_the_same_driver() -> None:
    """A target has one driver, however many threads ask at once."""
    of, made = drivers()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: of({"laptop": LAPTOP})[0]["laptop"], range(200)))
    assert len(made) == 1
    assert all(driver is made[0] for driver in found)


def test_a_target_recorded_by_an_older_version_is_made_whole() -> None:
    """Git names it no longer, so nothing gives it the settings that are new since; what it holds still goes."""
    of, made = drivers()
    of({"cluster": Target("cluster", "aks", {"kubeContext": "a", "namespace": "ml"})})
    block = made[0].target.block
    assert (block["kubeContext"], block["namespace"], block["autoscaler"]) == ("a", "ml", "cpu")
