# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""What is wanted and what is read back."""

from __future__ import annotations

from reconciler.core.resources import Health

from ..fixture import DriverFixture, needs
from ..harness import INSTALLATION
from .base import CANARY, Rules, assert_holds, there


class RoundTripRules(Rules):
    """What was wanted is what is read back."""

    def test_create_then_observe_equals_render(self, target: DriverFixture) -> None:
        """A resource reads back as it was wanted, healthy and under our mark."""
        bench, desired = target.bench(), target.desired()
        bench.settle([desired])
        observed = there(bench, desired)
        assert_holds(observed, desired, bench.drivers[desired.id.target].capabilities.write_only)
        assert observed.owned_by(INSTALLATION)
        assert observed.mark is not None
        assert observed.mark.spec_digest == desired.spec_digest
        assert observed.health is Health.HEALTHY

    def test_the_second_plan_is_empty(self, target: DriverFixture) -> None:
        """After one reconcile nothing is left to do, for any variant."""
        bench = target.bench()
        for variant in ("", "more", "changed", ""):
            bench.reconcile([target.desired(variant=variant)])
            assert list(bench.plan([target.desired(variant=variant)]).effective()) == []

    @needs("awkward")
    def test_the_targets_own_spelling_is_no_drift(self, target: DriverFixture) -> None:
        """Defaults the target adds, the order of its lists and its units are no difference, with or without record."""
        bench, desired = target.bench(), target.awkward("awkward")
        bench.reconcile([desired])
        assert bench.plan([desired]).empty
        assert bench.plan([desired]).drift == ()
        bench.baselines.clear()
        assert [c.steps for c in bench.plan([desired]).effective()] == [()]

    @needs("secret")
    def test_a_secret_arrives_and_is_not_read_back(self, target: DriverFixture) -> None:
        """A secret reaches the target, is written again only when it changes, and no observation shows it."""
        bench = target.bench()
        bench.settle([target.secret("keeper", CANARY)])
        assert target.hidden(target.secret("keeper", CANARY).id) == CANARY
        assert CANARY not in repr(there(bench, target.secret("keeper", CANARY)))
        assert bench.plan([target.secret("keeper", CANARY)]).empty
        made = bench.reconcile([target.secret("keeper", CANARY + "2")])
        assert target.hidden(target.secret("keeper", CANARY).id) == CANARY + "2"
        assert CANARY not in repr(made)
        assert bench.plan([target.secret("keeper", CANARY + "2")]).empty
