"""How long a plan takes, from what a target's driver says of its limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.change import Estimate, Plan
from reconciler.engine.store import Store
from reconciler.targets.memory.driver import CAPABILITIES, MemoryDriver
from reconciler.targets.memory.world import World
from reconciler.views import plan_text
from tests.engine.harness import INSTALLATION, House, service, source


@pytest.fixture
def house(store: Store, clock: Any) -> House:
    """Two targets without anything at them."""
    return House(store, clock, {"east": World(), "west": World()})


def limited(house: House, target: str, **limits: Any) -> None:
    """Gives a target limits of its own."""
    capabilities = replace(CAPABILITIES, **limits)
    house.drivers[target] = MemoryDriver(target, house.worlds[target], INSTALLATION, capabilities)


def many(count: int, **more: Any) -> list[Any]:
    """So many services that are written in one call each."""
    return [service(f"s{n:03}", kind="plain", **more) for n in range(count)]


def planned(house: House, *wanted: Any) -> tuple[Plan, Estimate | None]:
    """The plan of a commit."""
    plan = house.want(*wanted).plan()
    return plan, plan.estimate


def test_a_rate_makes_it_long(house: House) -> None:
    """240 calls at 20 a minute take twelve minutes, which the plan says with its reason."""
    limited(house, "east", calls_per_minute=20.0)
    plan, estimate = planned(house, *many(240))
    assert estimate is not None
    assert estimate.seconds == pytest.approx(720)
    text = plan_text.render(plan)
    assert "Takes about 12 min:\n" in text
    assert "  target east  about 12 min, since it takes 20 calls a minute, and this needs 240\n" in text


def test_every_step_is_a_call(house: House) -> None:
    """What is staged and promoted takes two of them."""
    limited(house, "east", calls_per_minute=20.0)
    _, estimate = planned(house, *(service(f"s{n}") for n in range(20)))
    assert estimate is not None
    assert estimate.seconds == pytest.approx(120)


def test_slow_changes_run_side_by_side(house: House) -> None:
    """Ten creations of ninety seconds, four at a time: three rounds; the same for deletions takes none of it."""
    limited(house, "east", durations={"plain:create": 90.0}, parallel=4)
    _, estimate = planned(house, *many(10))
    assert estimate == Estimate(270.0, {"east": (270.0, "create of a plain takes about 90 s")})


def test_what_depends_on_another_waits_for_it(house: House) -> None:
    """Across targets too; only the slow target is named."""
    limited(house, "west", durations={"source": 100.0})
    made = source("base", "x", "west")
    _, estimate = planned(house, made, service("a", needs=[str(made.id)]))
    assert estimate is not None
    assert estimate.seconds == 100.0
    assert list(estimate.targets) == ["west"]


@pytest.mark.parametrize("limits", [{}, {"calls_per_minute": 20.0}, {"durations": {"plain": 59.0}}])
def test_what_is_not_long_is_not_told(house: House, limits: dict[str, Any]) -> None:
    """Under a minute, and where nothing is known, there is no estimate."""
    limited(house, "east", **limits)
    plan, estimate = planned(house, *many(3))
    assert estimate is None
    assert "Takes" not in plan_text.render(plan)


def test_what_is_not_done_takes_no_time(house: House) -> None:
    """In sync, the same target has no estimate."""
    limited(house, "east", durations={"plain": 90.0})
    house.want(*many(2)).go()
    assert planned(house, *many(2))[1] is None
