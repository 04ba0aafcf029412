# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""Whose a resource is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.change import Action
from reconciler.core.errors import ForeignError, TargetError

from ..fixture import DriverFixture, needs
from ..harness import INSTALLATION, Bench
from .base import Rules, assert_holds, change_for, only, there


class OwnershipRules(Rules):
    """Ours is what carries our mark for its own name, and nothing else."""

    @needs("add_foreign")
    def test_foreign_is_refused_and_the_message_says_how_to_adopt(self, target: DriverFixture) -> None:
        """A name that is taken stops the plan's change with the way on, and the driver refuses by itself too."""
        bench, desired = target.bench(), target.desired("theirs")
        create = only(bench.plan([desired]))
        untouched = target.add_foreign(desired.id)
        made = bench.reconcile([desired])
        assert made.empty
        assert [(r.code, r.id, "adopt" in r.advice) for r in made.refusals] == [("foreign", desired.id, True)]
        with pytest.raises(ForeignError) as caught:
            bench.call(replace(create, step=create.steps[0]))
        assert "adopt" in caught.value.hint
        assert untouched()

    @needs("add_foreign")
    def test_foreign_is_adopted_on_request(self, target: DriverFixture) -> None:
        """With `adopt` it becomes ours, marked, and the plan says so."""
        bench, desired = target.bench(), target.desired("theirs")
        target.add_foreign(desired.id)
        wanted = replace(desired, policy=replace(desired.policy, adopt=True))
        assert only(bench.reconcile([wanted])).action is Action.ADOPT
        assert there(bench, wanted).owned_by(INSTALLATION)
        assert_holds(there(bench, wanted), wanted)
        assert bench.plan([wanted]).empty

    def test_delete_takes_exactly_one(self, target: DriverFixture) -> None:
        """What was taken out of Git goes; its neighbours stay."""
        bench = target.bench()
        bench.settle([target.desired("one"), target.desired("one-more"), target.desired("two")])
        bench.reconcile([target.desired("one-more"), target.desired("two")])
        left = bench.observe()[target.desired().id.target].resources
        assert sorted(left) == sorted([target.desired("one-more").id, target.desired("two").id])

    def test_the_mark_survives_updates(self, target: DriverFixture) -> None:
        """After an update the resource is still ours, and the mark names the new version."""
        bench = target.bench()
        for variant in ("", "changed", "more"):
            bench.settle([target.desired(variant=variant)])
            observed = there(bench, target.desired())
            assert observed.owned_by(INSTALLATION)
            assert observed.mark is not None
            assert observed.mark.spec_digest == target.desired(variant=variant).spec_digest

    def test_protection_is_recorded_at_the_target(self, target: DriverFixture) -> None:
        """`protect` stands in the mark, so that lifting it takes one merge and deleting takes the next."""
        bench, desired = target.bench(), target.desired()
        safe = replace(desired, policy=replace(desired.policy, protect=True))
        bench.settle([desired])
        bench.settle([safe])
        mark = there(bench, desired).mark
        assert mark is not None
        assert mark.protect
        assert [r.code for r in bench.reconcile([]).refusals] == ["protected"]
        bench.settle([desired])
        bench.settle([])
        assert bench.look(desired.id) is None

    @needs("copy")
    def test_a_copy_of_ours_is_not_ours(self, target: DriverFixture) -> None:
        """A copy with our mark under another name is never listed as ours, changed or deleted."""
        bench = target.bench()
        bench.settle([target.desired()])
        twin = target.copy(target.desired().id)
        seen = bench.observe([twin])[twin.target].resources[twin]
        assert not seen.owned_by(INSTALLATION)
        bench.settle([])
        assert bench.look(target.desired().id) is None
        assert twin in bench.observe([twin])[twin.target].resources

    @needs("copy")
    def test_a_driver_deletes_only_what_is_ours(self, target: DriverFixture) -> None:
        """Asked to delete a copy, the driver refuses by itself."""
        bench = target.bench()
        bench.settle([target.desired()])
        twin = target.copy(target.desired().id)
        delete = replace(change_for(bench, target.desired(), Action.DELETE), id=twin)
        with pytest.raises(TargetError):
            bench.call(replace(delete, observed=bench.look(twin)))
        assert bench.look(twin) is not None

    def test_another_installation_owns_nothing_of_ours(self, target: DriverFixture) -> None:
        """A second installation at the same target neither lists nor deletes what is ours."""
        bench = target.bench()
        bench.settle([target.desired()])
        other = Bench(target.make_driver("somebody-else"), installation="somebody-else", pause=target.pause)
        assert dict(other.observe()[target.desired().id.target].resources) == {}
        assert [r.code for r in other.reconcile([target.desired()]).refusals] == ["foreign"]
        assert there(bench, target.desired()).owned_by(INSTALLATION)
