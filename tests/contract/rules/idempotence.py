# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""Doing a thing again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.change import Action
from reconciler.core.resources import ResourceId

from ..fixture import DriverFixture, needs
from ..harness import Bench
from .base import Rules, assert_holds, change_for, left, only, there


def _there(bench: Bench, target: str, many: int) -> list[ResourceId]:
    """What is there, once it is so many: what goes on being deleted is nothing to do any more, and still there."""
    bench.until(lambda: len(bench.observe()[target].resources) == many)
    return list(bench.observe()[target].resources)


class IdempotenceRules(Rules):
    """Doing it twice is doing it once."""

    def test_the_second_reconcile_writes_nothing(self, target: DriverFixture) -> None:
        """A no-op is never written."""
        bench = target.bench()
        bench.settle([target.desired()])
        before = target.writes()
        bench.reconcile([target.desired()])
        assert target.writes() == before

    def test_creating_twice_leaves_one(self, target: DriverFixture) -> None:
        """A create that is repeated after a crash completes what was begun."""
        bench, desired = target.bench(), target.desired()
        create = only(bench.plan([desired]))
        for _ in range(2):
            for step in create.steps:
                bench.call(replace(create, step=step))
        assert list(bench.observe()[desired.id.target].resources) == [desired.id]
        assert_holds(there(bench, desired), desired)

    def test_deleting_what_is_gone_succeeds(self, target: DriverFixture) -> None:
        """A delete of something that is not there, or not there any more, is done."""
        bench, desired = target.bench(), target.desired()
        bench.call(change_for(bench, desired, Action.DELETE))
        bench.settle([desired])
        delete = change_for(bench, desired, Action.DELETE)
        bench.call(delete)
        bench.call(delete)
        assert bench.look(desired.id) is None

    @needs("crash")
    def test_a_crash_before_or_after_any_write_converges(self, target: DriverFixture) -> None:
        """Whichever write dies, on either side of it, the next reconciles end where they should, leaving one."""
        desired = target.desired()
        for when in ("before", "after"):
            for write in range(1, 4):
                bench = target.bench()
                bench.settle([])
                for variant in ("more", "changed", "gone"):
                    wanted = [target.desired(variant=variant)] if variant != "gone" else []
                    died = target.crash(when, write)
                    with pytest.raises(died):
                        bench.settle(wanted)
                        raise died
                    target.crash("never", 0)
                    bench.settle(wanted)
                    assert _there(bench, desired.id.target, len(wanted)) == [d.id for d in wanted]
                    for one in wanted:
                        assert_holds(there(bench, one), one)
                        assert bool(left(bench, target)) == (variant == "more")

    def test_a_lost_record_is_made_anew(self, target: DriverFixture) -> None:
        """Without any record, what runs is adopted by its mark: nothing is written, nothing doubled."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        before = target.writes()
        bench.baselines.clear()
        assert [c.action for c in bench.reconcile([desired]).effective()] == [Action.ADOPT]
        assert target.writes() == before
        assert bench.plan([desired]).empty
