# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""Changing what is there, in place, by replacing, by staging."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.change import Action, Disruption, Step
from reconciler.core.errors import ConflictError
from reconciler.core.resources import Health

from ..fixture import DriverFixture, needs
from ..harness import INSTALLATION
from .base import Rules, added, assert_holds, change_for, left, only, there


class UpdateRules(Rules):
    """Changing what is there."""

    @needs("edit_foreign")
    def test_only_the_named_fields_change(self, target: DriverFixture) -> None:
        """An update leaves alone what others set."""
        bench = target.bench()
        bench.settle([target.desired()])
        stands = target.edit_foreign(target.desired().id)
        bench.settle([target.desired(variant="changed")])
        assert_holds(there(bench, target.desired()), target.desired(variant="changed"))
        assert stands()

    def test_a_field_taken_out_of_git_goes(self, target: DriverFixture) -> None:
        """What was added and then removed is gone from the target."""
        bench = target.bench()
        bench.settle([target.desired(variant="more")])
        assert left(bench, target) == added(target) != []
        bench.settle([target.desired()])
        assert left(bench, target) == []

    def test_a_field_taken_out_goes_without_record(self, target: DriverFixture) -> None:
        """It goes also where the record was lost in between."""
        bench = target.bench()
        bench.settle([target.desired(variant="more")])
        bench.baselines.clear()
        bench.settle([target.desired()])
        assert left(bench, target) == []

    @needs("edit")
    def test_drift_is_seen_and_healed(self, target: DriverFixture) -> None:
        """A field of ours that was changed by hand is told as drift, at its pointer, and written back."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        pointer = target.edit(desired.id)
        made = bench.reconcile([desired])
        assert [f.pointer for d in made.drift for f in d.fields] == [pointer]
        assert only(made).drift_only
        assert_holds(there(bench, desired), desired)
        assert bench.plan([desired]).empty

    @needs("remove")
    def test_what_was_deleted_by_hand_comes_back(self, target: DriverFixture) -> None:
        """A resource that is gone is told as drift, and made again."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        target.remove(desired.id)
        made = bench.reconcile([desired])
        assert [(d.id, d.gone) for d in made.drift] == [(desired.id, True)]
        assert only(made).drift_only
        assert_holds(there(bench, desired), desired)
        assert bench.plan([desired]).empty

    @needs("immutable")
    def test_an_immutable_field_means_replace(self, target: DriverFixture) -> None:
        """A field that cannot be changed replaces the resource, says so, and arrives."""
        bench = target.bench()
        bench.settle([target.immutable("fixed", "a")])
        change = only(bench.reconcile([target.immutable("fixed", "b")]))
        assert change.action is Action.REPLACE
        assert (change.disruption is Disruption.REPLACE) == (Step.STAGE not in change.steps)
        assert_holds(there(bench, target.immutable("fixed", "b")), target.immutable("fixed", "b"))
        assert bench.plan([target.immutable("fixed", "b")]).empty

    @needs("touch")
    def test_a_stale_version_conflicts_and_writes_nothing(self, target: DriverFixture) -> None:
        """An update or delete planned on what has changed since is refused, and changes nothing."""
        bench, changed = target.bench(), target.desired(variant="changed")
        bench.settle([target.desired()])
        update = only(bench.plan([changed]))
        delete = change_for(bench, target.desired(), Action.DELETE)
        target.touch(changed.id)
        before = there(bench, changed)
        for change in (update, delete):
            with pytest.raises(ConflictError):
                bench.call(replace(change, step=change.steps[0]))
            after = there(bench, changed)
            assert (after.spec, after.mark, after.staged) == (before.spec, before.mark, before.staged)

    @needs("staged")
    def test_a_staged_version_serves_nobody(self, target: DriverFixture) -> None:
        """Staging leaves the serving version as it was; promoting moves; discarding takes the staged one away."""
        bench, old, new = target.bench(), target.staged("stage"), target.staged("stage", "changed")
        bench.settle([old])
        serving = there(bench, old)
        change = only(bench.plan([new]))
        assert change.steps[0] is Step.STAGE
        for ending in (Step.DISCARD, Step.PROMOTE):
            bench.call(replace(change, step=Step.STAGE))
            between = there(bench, old)
            assert (between.spec, between.mark, between.version) == (serving.spec, serving.mark, serving.version)
            assert between.staged is not None
            assert between.staged.spec_digest == new.spec_digest
            assert between.staged.health is Health.HEALTHY
            bench.call(replace(change, step=ending))
            assert there(bench, old).staged is None
        assert_holds(there(bench, new), new)

    @needs("staged")
    def test_staging_and_promoting_twice_is_doing_it_once(self, target: DriverFixture) -> None:
        """Each step repeated after a crash completes what was begun."""
        bench, new = target.bench(), target.staged("stage", "changed")
        change = only(bench.plan([new]))
        for step in (Step.STAGE, Step.STAGE, Step.PROMOTE, Step.PROMOTE, Step.DISCARD, Step.DISCARD):
            bench.call(replace(change, step=step))
        assert_holds(there(bench, new), new)
        assert there(bench, new).staged is None

    @needs("staged")
    def test_a_staged_first_version_can_be_discarded(self, target: DriverFixture) -> None:
        """A first version that is staged is known as ours, not as serving, and leaves nothing when discarded."""
        bench, new = target.bench(), target.staged("stage")
        change = only(bench.plan([new]))
        bench.call(replace(change, step=Step.STAGE))
        observed = there(bench, new)
        assert observed.health is not Health.HEALTHY
        assert observed.owned_by(INSTALLATION)
        bench.call(replace(change, step=Step.DISCARD))
        assert bench.look(new.id) is None
