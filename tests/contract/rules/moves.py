# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""A service that goes on under another name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reconciler.core.change import Action, Change
from reconciler.core.driver import Done, InProgress
from reconciler.core.resources import Health

from ..fixture import DriverFixture, needs
from ..harness import Bench
from .base import Rules, assert_holds, there

MOVED = {"moves": {"two": "one"}}


def watched(bench: Bench, target: str, seen: Callable[[Change], None]) -> None:
    """Has a look taken before each call of a driver."""
    inner: Any = bench.drivers[target].apply

    def apply(change: Change) -> Done | InProgress:
        seen(change)
        return inner(change)

    bench.drivers[target].apply = apply  # type: ignore[method-assign]


class MoveRules(Rules):
    """A service that goes on under another name."""

    @needs("move")
    def test_a_move_leaves_no_gap(self, target: DriverFixture) -> None:
        """At any moment the old one or the new one serves, and at last only the new one is there."""
        bench, old, new = target.bench(), target.move("one"), target.move("two")
        bench.settle([old])
        gaps: list[Change] = []

        def look(change: Change) -> None:
            stands = [bench.look(old.id), bench.look(new.id)]
            if not any(seen is not None and seen.health is Health.HEALTHY for seen in stands):
                gaps.append(change)

        watched(bench, old.id.target, look)
        bench.settle([new], **MOVED)
        assert gaps == []
        assert_holds(there(bench, new), new)
        assert bench.look(old.id) is None
        assert set(bench.baselines) == {new.id}

    @needs("move")
    def test_a_move_is_an_update_where_the_target_renames(self, target: DriverFixture) -> None:
        """A kind that can be renamed is; any other is made under its new name, and then deleted under the old one."""
        bench, old, new = target.bench(), target.move("one"), target.move("two")
        bench.settle([old])
        made = bench.reconcile([new], **MOVED)
        renames = new.id.kind in bench.drivers[new.id.target].capabilities.renames
        expected = [Action.UPDATE] if renames else [Action.CREATE, Action.DELETE]
        assert [change.action for change in made.effective()] == expected
        assert next(made.effective()).moved_from == old.id
        assert bench.look(old.id) is None
        assert_holds(there(bench, new), new)

    @needs("move", "edit_foreign")
    def test_a_rename_keeps_what_others_set(self, target: DriverFixture) -> None:
        """What is renamed is the same resource: fields of others stand; what is made anew has none."""
        bench, old, new = target.bench(), target.move("one"), target.move("two")
        bench.settle([old])
        target.edit_foreign(old.id)
        before = there(bench, old).spec
        bench.settle([new], **MOVED)
        if new.id.kind in bench.drivers[new.id.target].capabilities.renames:
            assert there(bench, new).spec == before

    @needs("move", "crash")
    def test_a_move_that_dies_converges(self, target: DriverFixture) -> None:
        """Whichever write of a move dies, on either side of it, the next reconciles end it: one is left, and ours."""
        old, new = target.move("one"), target.move("two")
        for when in ("before", "after"):
            for write in (1, 2, 3):
                bench = target.bench()
                bench.settle([old])
                died = target.crash(when, write)
                try:
                    bench.settle([new], **MOVED)
                except died:
                    bench = restarted(bench, target)
                target.crash("never", 0)
                bench.settle([new], **MOVED)
                assert_holds(there(bench, new), new)
                assert there(bench, new).owned_by(bench.installation)
                assert bench.look(old.id) is None
                bench.settle([])


def restarted(bench: Bench, target: DriverFixture) -> Bench:
    """Another process with the same record."""
    again = target.bench()
    again.baselines = bench.baselines
    return again
