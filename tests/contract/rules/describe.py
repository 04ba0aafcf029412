# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""What stands at a target, in the words of manifests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.core.change import Action
from reconciler.core.described import Described
from reconciler.core.driver import Describes
from reconciler.core.resources import Desired
from reconciler.core.secrets import Secret

from ..fixture import DriverFixture, needs
from ..harness import INSTALLATION, Bench
from .base import CANARY, Rules, only, there

SOMEBODY = "somebody-else"


def described(bench: Bench, desired: Desired) -> Described:
    """What a driver says of a resource."""
    driver: Any = bench.drivers[desired.id.target]
    assert isinstance(driver, Describes)
    assert desired.id.name in driver.describable()
    found = driver.describe(desired.id.name, desired.service)
    assert found is not None
    return found


class DescribeRules(Rules):
    """What stands there is said in the words of manifests, so that a plan of them changes nothing."""

    @needs("describable")
    def test_what_is_said_of_ours_changes_nothing(self, target: DriverFixture) -> None:
        """With the record and the manifests lost, those that the driver tells give a plan without a write."""
        desired = target.describable("one")
        target.bench().settle([desired])
        bench = target.bench()
        before = target.writes()
        found = described(bench, desired)
        assert target.writes() == before
        assert found.observed == there(bench, desired)
        made = bench.plan([target.redeployed(found)])
        assert [(c.action, c.fields) for c in made.effective() if c.writes] == []
        bench.settle([target.redeployed(found)])
        assert target.writes() == before

    @needs("describable")
    def test_what_is_said_of_others_is_adopted_as_it_is(self, target: DriverFixture) -> None:
        """What another installation made becomes ours, and nothing of it is another than before."""
        desired = target.describable("one")
        theirs = Bench(
            target.make_driver(SOMEBODY), installation=SOMEBODY, pause=target.pause, patience=target.patience
        )
        theirs.settle([desired])
        before = there(theirs, desired).spec
        bench = target.bench()
        wanted = target.redeployed(described(bench, desired))
        wanted = replace(wanted, policy=replace(wanted.policy, adopt=True))
        change = only(bench.reconcile([wanted]))
        assert change.action is Action.ADOPT
        assert [f.pointer for f in change.fields] == ["/mark/installation"]
        assert there(bench, wanted).owned_by(INSTALLATION)
        assert there(bench, wanted).spec == before
        assert bench.plan([wanted]).empty

    @needs("describable", "secret")
    def test_what_is_said_holds_no_secret(self, target: DriverFixture) -> None:
        """A secret is named and not told; whoever writes the manifest refers to it."""
        desired = target.secret("one", CANARY)
        target.bench().settle([desired])
        found = described(target.bench(), desired)
        assert CANARY not in repr(found)
        variables = found.deployment["environmentVariables"]
        assert [name for name, value in variables.items() if isinstance(value, Secret)] == ["TOKEN"]

    @needs("describable")
    def test_nothing_is_said_of_what_is_not_there(self, target: DriverFixture) -> None:
        """A name that nothing has there is described as nothing."""
        bench, desired = target.bench(), target.describable("one")
        bench.settle([desired])
        driver: Any = bench.drivers[desired.id.target]
        assert driver.describe("nobody", "nobody") is None
        assert "nobody" not in driver.describable()
