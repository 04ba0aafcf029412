# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""The driver itself."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.driver import Driver
from reconciler.core.patterns import Pattern, pattern_of
from reconciler.core.resources import ResourceId
from reconciler.core.values import walk

from ..fixture import DriverFixture
from .base import Rules, there


def _stands(pointer: str, kind: str, places: Sequence[Pattern]) -> bool:
    # A map or list that is empty stands where something could be in it.
    return any(pattern_of(pointer).meets(kind, place) for place in places)


class ShapeRules(Rules):
    """What the contract says of the driver itself."""

    def test_rendering_is_pure_and_in_normal_form(self, target: DriverFixture) -> None:
        """What is wanted twice is equal, of a declared kind, at this target."""
        driver, desired = target.make_driver(), target.desired()
        assert desired == target.desired()
        assert desired.id.kind in driver.capabilities.kinds
        assert desired.id.target == driver.target
        assert ResourceId.parse(str(desired.id)) == desired.id

    def test_capabilities_speak_of_declared_kinds(self, target: DriverFixture) -> None:
        """Staged, tested and retained kinds are kinds; limits are positive."""
        told = target.make_driver().capabilities
        assert told.stages | told.endpoints | told.retained <= told.kinds
        assert told.parallel > 0
        assert told.deadline_seconds > 0

    def test_every_place_is_declared(self, target: DriverFixture) -> None:
        """Where the driver says which fields there may be, all that is rendered and reported is among them."""
        bench, told = target.bench(), target.make_driver().capabilities
        places = [pattern_of(place) for place in told.fields or ("/**",)]
        for variant in ("", "more", "changed"):
            desired = target.desired(variant=variant)
            bench.settle([desired])
            for spec in (desired.spec, there(bench, desired).spec):
                strange = [p for p, _ in walk(spec) if not _stands(p, desired.id.kind, places)]
                assert strange == []

    def test_closing_leaves_the_target_alone(self, target: DriverFixture) -> None:
        """Closing a driver takes nothing away, and can be done twice."""
        bench = target.bench()
        bench.settle([target.desired()])
        driver: Driver = bench.drivers[target.desired().id.target]
        driver.close()
        driver.close()
        assert target.bench().look(target.desired().id) is not None
