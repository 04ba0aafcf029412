# ruff: noqa: TID252  the suite is imported as `contract` and as `tests.contract`
"""What every chapter has: the fixture with its skips, and the words that rules are written in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from reconciler.core.change import Action, Change, Plan, Step
from reconciler.core.resources import Desired, Observed
from reconciler.core.rollout import mark_of
from reconciler.core.three_way import three_way
from reconciler.core.values import MISSING, lookup, walk

from ..fixture import DriverFixture
from ..harness import Bench

CANARY = "c4n4ry-do-not-tell"


class Rules:
    """What every chapter has: the fixture, made anew for each rule, and the skips it declares."""

    fixture: ClassVar[type[DriverFixture]]

    def make(self, tmp_path: Path) -> DriverFixture:
        """One empty target."""
        return self.fixture()

    @pytest.fixture
    def target(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DriverFixture]:
        """The driver's fixture; a rule that needs what the target cannot do is skipped with the declared reason."""
        for hook in getattr(request.function, "needs", ()):
            if hook in self.fixture.cannot:
                pytest.skip(f"{hook}: {self.fixture.cannot[hook]}")
        target = self.make(tmp_path)
        yield target
        target.close()


def only(plan: Plan) -> Change:
    """The one change of a plan that does something."""
    (change,) = plan.effective()
    return change


def there(bench: Bench, desired: Desired) -> Observed:
    """The resource as observed, which must be there."""
    observed = bench.look(desired.id)
    assert observed is not None, f"{desired.id} is not observed"
    return observed


def assert_holds(observed: Observed, desired: Desired, write_only: tuple[str, ...] = ()) -> None:
    """Every field that is wanted reads as it is wanted."""
    comparison = three_way(
        desired.id.kind, desired.spec, observed.spec, desired.spec, desired.spec, write_only=write_only
    )
    assert comparison.changes == (), comparison.changes


def change_for(bench: Bench, desired: Desired, action: Action, step: Step = Step.APPLY) -> Change:
    """A change as the planner would make it, without planning."""
    situation = bench.situation([desired])
    observed = situation.observations[desired.id.target].resources.get(desired.id)
    return Change(desired.id, action, desired=desired, observed=observed, mark=mark_of(situation, desired), step=step)


def added(target: DriverFixture) -> list[str]:
    """The places that the variant `more` adds."""
    before = dict(walk(target.desired().spec))
    return [pointer for pointer, _ in walk(target.desired(variant="more").spec) if pointer not in before]


def left(bench: Bench, target: DriverFixture) -> list[str]:
    """Those of them that are at the target."""
    return [p for p in added(target) if lookup(there(bench, target.desired()).spec, p) is not MISSING]
