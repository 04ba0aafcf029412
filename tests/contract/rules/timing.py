# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""Slow work."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.change import Action
from reconciler.core.driver import InProgress
from reconciler.core.resources import Health

from ..fixture import DriverFixture, needs
from .base import Rules, assert_holds, change_for, only, there


class TimeRules(Rules):
    """Slow work is handed back, not waited for."""

    @needs("slow")
    def test_slow_work_is_in_progress_until_observed_done(self, target: DriverFixture) -> None:
        """A slow change returns at once, is seen as busy or progressing, and is over when observing says so."""
        target.slow()
        bench, desired = target.bench(), target.desired()
        create = only(bench.plan([desired]))
        driver = bench.drivers[desired.id.target]
        answer = driver.apply(replace(create, step=create.steps[0]))
        assert isinstance(answer, InProgress)
        assert 0 <= answer.retry_after <= driver.capabilities.deadline_seconds
        seen = there(bench, desired)
        staged = seen.staged is not None and seen.staged.health is Health.PROGRESSING
        assert seen.busy or seen.health is Health.PROGRESSING or staged
        bench.settle([desired])
        assert there(bench, desired).health is Health.HEALTHY
        assert not there(bench, desired).busy

    @needs("slow")
    def test_a_crash_while_it_is_slow_loses_nothing(self, target: DriverFixture) -> None:
        """Whoever comes back in between finds the work going on, does not begin it anew, and records its end."""
        target.slow()
        bench, desired = target.bench(), target.desired()
        create = only(bench.plan([desired]))
        for step in create.steps[:1]:
            bench.intend(create, step, None)
            bench.drivers[desired.id.target].apply(replace(create, step=step))
        again = target.bench()
        again.baselines = bench.baselines
        again.until(lambda: not list(again.reconcile([desired]).effective()) and not again.plan([desired]).blocked)
        assert_holds(there(again, desired), desired)
        assert again.plan([desired]).empty
        assert again.baselines[desired.id].pending is None
        assert list(again.observe()[desired.id.target].resources) == [desired.id]

    @needs("slow_delete")
    def test_a_slow_delete_is_over_when_it_is_gone(self, target: DriverFixture) -> None:
        """A slow delete returns at once; asked again it does not fail; at last the resource is gone."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        target.slow_delete()
        delete = change_for(bench, desired, Action.DELETE)
        driver = bench.drivers[desired.id.target]
        assert isinstance(driver.apply(delete), InProgress)
        driver.apply(delete)
        bench.until(lambda: bench.look(desired.id) is None)
