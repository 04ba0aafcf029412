"""The smallest thing that reconciles: plans through the core, calls a driver, records through the core.

No store, no threads, no tests of services: what is left is what the contract speaks of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.core.change import Action, Change, Plan, Step
from reconciler.core.contents import Revision
from reconciler.core.driver import Driver, InProgress
from reconciler.core.errors import BusyError, TargetError
from reconciler.core.outputs import fill_change
from reconciler.core.plan import plan
from reconciler.core.record import confirmed, intended
from reconciler.core.resources import (
    Baseline,
    Completeness,
    Desired,
    Health,
    Observation,
    Observed,
    Pending,
    ResourceId,
)
from reconciler.core.situation import Situation

INSTALLATION = "contract-suite"


class Bench:
    """Reconciles a list of desired resources over some drivers.

    Args:
        pause: Called between two looks at slow work.
        patience: How many looks slow work may take.
    """

    def __init__(
        self,
        *drivers: Driver,
        installation: str = INSTALLATION,
        pause: Callable[[], None] = lambda: None,
        patience: int = 50,
    ) -> None:
        self.drivers = {driver.target: driver for driver in drivers}
        self.installation = installation
        self.pause = pause
        self.patience = patience
        self.baselines: dict[ResourceId, Baseline] = {}
        self.revision = 0

    def observe(self, known: Iterable[ResourceId] = ()) -> dict[str, Observation]:
        """One look at every target; one that cannot be seen is unavailable."""
        ids = list(known)
        seen: dict[str, Observation] = {}
        for name, driver in self.drivers.items():
            try:
                seen[name] = driver.observe([i for i in ids if i.target == name])
            except TargetError as exc:
                seen[name] = Observation(name, Completeness.UNAVAILABLE, missing=exc.message)
        return seen

    def look(self, id_: ResourceId) -> Observed | None:
        """One resource as its target reports it now."""
        return self.observe([id_])[id_.target].resources.get(id_)

    def situation(self, desired: Sequence[Desired], **more: Any) -> Situation:
        """What a plan for these resources depends on, observed now."""
        observations = self.observe([*(d.id for d in desired), *self.baselines])
        return Situation(
            revision=Revision(f"{self.revision:040x}"),
            desired=desired,
            observations=observations,
            capabilities={name: driver.capabilities for name, driver in self.drivers.items()},
            baselines=dict(self.baselines),
            installation=self.installation,
            **more,
        )

    def plan(self, desired: Sequence[Desired], **more: Any) -> Plan:
        """The plan for these resources."""
        return plan(self.situation(desired, **more))

    def reconcile(self, desired: Sequence[Desired], **more: Any) -> Plan:
        """Plans and carries the plan out; the plan that was carried out."""
        self.revision += 1
        made = self.plan(desired, **more)
        self.carry_out(made)
        return made

    def settle(self, desired: Sequence[Desired], rounds: int = 6, **more: Any) -> int:
        """Reconciles until nothing is left to do.

        Returns:
            How many rounds did something.

        Raises:
            AssertionError: It does not come to an end.
        """
        for done in range(rounds):
            if self.reconcile(desired, **more).empty:
                return done
        last = self.plan(desired, **more)
        raise AssertionError(
            f"no end after {rounds} rounds: {[(c.id, c.action, c.reason, c.fields) for c in last.effective()]}"
        )

    def carry_out(self, made: Plan) -> None:
        """Carries out every change in the order of the plan."""
        outputs: dict[ResourceId, Mapping[str, Any]] = {i: b.outputs for i, b in self.baselines.items()}
        outputs.update({c.id: c.observed.outputs for c in made.changes if c.observed is not None})
        for change in made.effective():
            answered = self.execute(fill_change(change, outputs.get))
            outputs[change.id] = answered.outputs if answered else {}

    def execute(self, change: Change) -> Observed | None:
        """One change with all its steps: intent before, record after."""
        prior = self.baselines.get(change.id)
        renamed = change.moved_from if change.action is Action.UPDATE else None
        if renamed is not None and renamed in self.baselines:
            prior = replace(self.baselines[renamed], id=change.id, service=change.service)
        if change.action is Action.FORGET:
            self.baselines.pop(change.id, None)
            return None
        answered = change.observed
        for step in change.steps:
            if step is Step.TEST:
                continue
            self.intend(change, step, prior)
            answered = self.call(replace(change, step=step))
        if change.action is Action.DELETE:
            self.baselines.pop(change.id, None)
        elif answered is not None:
            self.baselines[change.id] = confirmed(change, answered, prior)
            if renamed is not None:
                self.baselines.pop(renamed, None)
        return answered

    def intend(self, change: Change, step: Step, prior: Baseline | None) -> None:
        """The write-ahead record of one call."""
        pending = Pending(change.action.value, step.value, intended(change))
        self.baselines[change.id] = replace(prior or Baseline(change.id, change.service), pending=pending)

    def call(self, change: Change) -> Observed | None:
        """One call of the driver, awaited: only what is observed says when slow work is done."""
        driver = self.drivers[change.id.target]
        for _ in range(self.patience):
            try:
                answer = driver.apply(change)
                break
            except BusyError:
                self.pause()
        else:
            raise AssertionError(f"{change.id} stays busy")
        if not isinstance(answer, InProgress):
            return answer.answered
        assert answer.retry_after >= 0
        for _ in range(self.patience):
            observed = driver.observe([change.id]).resources.get(change.id)
            if self.over(change, observed):
                return observed
            self.pause()
        raise AssertionError(f"{change.id}: {change.action} is still going on after {self.patience} looks")

    def until(self, condition: Callable[[], bool]) -> None:
        """Looks again and again until a condition holds.

        Raises:
            AssertionError: It never does.
        """
        for _ in range(self.patience):
            if condition():
                return
            self.pause()
        raise AssertionError("it did not come to pass")

    @staticmethod
    def over(change: Change, observed: Observed | None) -> bool:
        """Whether what is observed says that slow work has ended."""
        if observed is None or change.action is Action.DELETE:
            return observed is None
        if change.step is Step.STAGE:
            return observed.staged is None or observed.staged.health is not Health.PROGRESSING
        wanted = change.mark.spec_digest if change.mark else ""
        unsaid = observed.mark is None or observed.mark.spec_digest != wanted
        return not observed.busy and not (unsaid and observed.health is Health.PROGRESSING)
