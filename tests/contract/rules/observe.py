# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""Observing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.change import Action
from reconciler.core.driver import InProgress
from reconciler.core.errors import UnavailableError
from reconciler.core.resources import Completeness, Health

from ..fixture import DriverFixture, needs
from ..harness import INSTALLATION
from .base import Rules, only, there


class ObserveRules(Rules):
    """Observing: true, complete or honest about it, and without a trace."""

    def test_an_empty_target_is_complete_and_empty(self, target: DriverFixture) -> None:
        """A target with nothing on it is completely seen, and nothing is seen."""
        observation = target.make_driver().observe([target.desired().id])
        assert observation.completeness is Completeness.COMPLETE
        assert dict(observation.resources) == {}

    def test_observing_writes_nothing(self, target: DriverFixture) -> None:
        """Looking changes nothing, however often."""
        bench = target.bench()
        bench.settle([target.desired()])
        before = target.writes(), there(bench, target.desired())
        bench.observe([target.desired().id])
        assert (target.writes(), there(bench, target.desired())) == before

    @needs("add_foreign")
    def test_foreign_resources_are_not_ours(self, target: DriverFixture) -> None:
        """What somebody else made is seen only where we asked for that very id, and never as ours."""
        id_ = target.desired("theirs").id
        target.add_foreign(id_)
        driver = target.make_driver()
        assert dict(driver.observe([]).resources) == {}
        assert not driver.observe([id_]).resources[id_].owned_by(INSTALLATION)

    @needs("down")
    def test_a_target_that_is_down_raises(self, target: DriverFixture) -> None:
        """No answer is an error, never an empty observation."""
        bench = target.bench()
        bench.settle([target.desired()])
        target.down()
        with pytest.raises(UnavailableError):
            bench.drivers[target.desired().id.target].observe([])

    @needs("fail_second_page")
    def test_a_reading_that_breaks_off_is_partial(self, target: DriverFixture) -> None:
        """A listing that fails half-way is partial, says what is missing, and leads to no deletion."""
        bench = target.bench()
        bench.settle([target.desired("one"), target.desired("two"), target.desired("three")])
        target.fail_second_page()
        (observation,) = bench.observe().values()
        assert observation.completeness is Completeness.PARTIAL
        assert observation.missing
        target.fail_second_page()
        made = bench.plan([])
        assert made.count(Action.DELETE) == 0
        assert made.count(Action.FORGET) == 0

    @needs("condition")
    def test_every_native_state_maps_to_a_health(self, target: DriverFixture) -> None:
        """Each state the target knows means one health, a state nobody knows means Unknown."""
        bench = target.bench()
        bench.settle([target.desired()])
        wanted, seen = {}, {}
        for state in target.states:
            wanted[state] = target.condition(target.desired().id, state)
            seen[state] = there(bench, target.desired()).health
        assert seen == wanted
        assert Health.UNKNOWN in wanted.values()

    @needs("slow")
    def test_health_is_of_this_version(self, target: DriverFixture) -> None:
        """While a change is in progress the mark does not name the new version together with Healthy."""
        bench = target.bench()
        bench.settle([target.desired()])
        target.slow()
        change = only(bench.plan([target.desired(variant="changed")]))
        assert change.mark is not None
        answer = bench.drivers[change.id.target].apply(replace(change, step=change.steps[0]))
        observed = there(bench, target.desired())
        assert isinstance(answer, InProgress)
        assert observed.mark is not None
        assert (observed.mark.spec_digest, observed.health) != (change.mark.spec_digest, Health.HEALTHY)
