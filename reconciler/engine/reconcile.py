"""The eight hops as one value passed along: fetch, load, resolve, observe, plan, apply, report.

`Reconciler.look` goes up to the plan and writes nothing; `Reconciler.carry_out` does the rest. The daemon and every
command call these two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Protocol

from reconciler.core.approval import Approval, approval_of
from reconciler.core.change import Action, Change, Plan, Refusal
from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.deployment import Target
from reconciler.core.driver import Driver
from reconciler.core.memo import Memo
from reconciler.core.plan import plan
from reconciler.core.problems import Problem
from reconciler.core.report import Report, ReportMemo, report_of
from reconciler.core.resources import Baseline, ResourceId
from reconciler.core.reviewed import only
from reconciler.core.safety import standing
from reconciler.core.secrets import Secret
from reconciler.core.situation import Origin, Rails, Situation
from reconciler.engine.apply import Apply
from reconciler.engine.approvals import begin, demanded, finish, live, remember_demands
from reconciler.engine.clock import Cancel, Clock
from reconciler.engine.desired import DesiredState
from reconciler.engine.drifting import drift_healed, notice_drift
from reconciler.engine.known import Known, situation_of
from reconciler.engine.lifecycle import State
from reconciler.engine.observing import Observer
from reconciler.engine.outcome import ApplyOptions, Look, Outcome
from reconciler.engine.portion import portion, without
from reconciler.engine.progress import Progress, Result
from reconciler.engine.record import (
    SERVICES,
    after_run,
    record_run,
    recorded_origin,
    remember_origin,
)
from reconciler.engine.rehearsing import rehearsed
from reconciler.engine.settle import until_free, until_healthy
from reconciler.engine.store import Store
from reconciler.manifests.collecting import uncollected

MAX_ROUNDS = 4
_ID = attrgetter("id")


def _narrowed(look: Look, options: ApplyOptions) -> Look:
    """What of a look may be carried out: all of it, or what was reviewed."""
    return look if options.only is None else replace(look, plan=only(look.plan, options.only))


class States(Protocol):
    """Computes what a tree wants: `DesiredStates`, or one who computed it already."""

    def of(self, tree: Tree) -> DesiredState:
        """The desired state of a tree; problems are in it, none is raised."""
        ...


@dataclass
class Reconciler:
    """One installation's reconciling.

    Args:
        source: Gives the tree of the revision to reconcile.
        states: Computes what it wants.
        drivers: A driver for any target, also one that Git no longer names.
        registries: The built-in registries' drivers.
        origin: Which repo and path this is, the same for every clone of it; empty if that is not known.
        secrets_of: Makes the secret filler for the present rotation counters.
    """

    source: Callable[[], Tree]
    states: States
    drivers: Callable[[Mapping[str, Target]], tuple[Mapping[str, Driver], Sequence[Problem]]]
    registries: Sequence[Driver]
    store: Store
    clock: Clock
    installation: str
    rails: Rails = field(default_factory=Rails)
    workers: int = 16
    origin: str = ""
    backoff: Callable[[int], float] = lambda attempts: min(10.0 * 2.0 ** (attempts - 1), 900.0)
    _memo: Memo = field(default_factory=Memo, init=False)
    _reports: ReportMemo = field(default_factory=ReportMemo, init=False)
    _observer: Observer = field(default_factory=Observer, init=False)

    def held_to(self, max_delete_percent: float | None) -> Reconciler:
        """This one, or one like it for a call that asks for a lower limit than the operator's."""
        if max_delete_percent is None or max_delete_percent >= self.rails.max_delete_percent:
            return self
        return replace(self, rails=replace(self.rails, max_delete_percent=max_delete_percent))

    # Hops 2 to 6

    def look(self, scope: frozenset[str] | None = None, tree: Tree | None = None, *, holds: bool = True) -> Look:
        """Fetches, loads, resolves, observes and plans; writes nothing anywhere.

        Args:
            scope: Names of the targets to look at, registries excepted, which always are; None for all.
            holds: Whether changes that failed lately wait for their time.

        Raises:
            InvalidError: The source or the path in it cannot be read, or resources depend on each other in a circle.
            UnavailableError: The remote cannot be reached and nothing was fetched before.
        """
        tree = tree if tree is not None else self.source()
        state = self.states.of(tree)
        drivers = self._in_scope(state, scope)
        baselines = self.store.baselines()
        observations = self._observer.all(drivers, (*map(_ID, state.desired), *baselines))
        # Planning makes no cycles, and the collector's passes over thousands of services took half of its time.
        with uncollected():
            situation = situation_of(
                state,
                {name: driver.capabilities for name, driver in drivers.items()},
                observations,
                self._known(drivers, baselines, scope is None, holds),
                self.clock.now(),
            )
            made = plan(situation, self._memo)
        return Look(tree, scope, state, situation, made, partial(self._report, made, situation, baselines))

    def rehearsed(self, look: Look) -> Look:
        """A look whose plan also says what the targets would refuse; asks them, and writes nothing there."""
        drivers, _ = self.drivers(self._targets(look))
        return rehearsed(look, drivers)

    def _in_scope(self, state: DesiredState, scope: frozenset[str] | None) -> dict[str, Driver]:
        """Drivers of what Git names and of what we once applied to, by target name."""
        recorded = {name: target for name, target in self.store.targets().items() if name not in state.targets}
        wanted = {**recorded, **state.targets}
        drivers, _ = self.drivers({n: t for n, t in wanted.items() if scope is None or n in scope})
        return {**{d.target: d for d in self.registries}, **drivers}

    def _known(
        self, drivers: Mapping[str, Driver], baselines: Mapping[ResourceId, Baseline], whole: bool, holds: bool
    ) -> Known:
        """What the record says of the targets in scope.

        Args:
            whole: The scope is everything.
            holds: Whether changes that failed lately wait for their time.
        """
        return Known(
            self.installation,
            baselines if whole else {i: b for i, b in baselines.items() if i.target in drivers},
            {name: self.store.fact(SERVICES + name) or () for name in drivers},
            frozenset(self.store.suspensions()),
            {i: h for i, (h, _) in self.store.holds().items()} if holds else {},
            self.origin,
            {name: origin for name in drivers if (origin := recorded_origin(self.store, name)) is not None},
            self.rails,
            demanded(self.store, drivers),
        )

    def approvals(self) -> tuple[Approval, ...]:
        """The approvals that have not lapsed."""
        return live(self.store, self.clock.now(), self.rails.approval_days)

    def _report(self, made: Plan, situation: Situation, baselines: Mapping[ResourceId, Baseline]) -> Report:
        with uncollected():
            revisions = {i: b.revision for i, b in baselines.items()}
            since = {i: at for i, memory in self.store.drift().items() if (at := memory.since) is not None}
            accessories = {name: one.accessories for name, one in situation.capabilities.items()}
            return report_of(
                self.installation, made, situation.observations, revisions, since, self._reports, accessories
            )

    # Hops 7 and 8

    def carry_out(
        self,
        look: Look,
        options: ApplyOptions,
        progress: Progress = lambda event: None,
        cancel: Cancel | None = None,
    ) -> Outcome:
        """Applies a plan under the lease that the caller holds, and reports.

        A conflict makes a new plan and goes on, a few times. Deletes run only if a second complete observation still
        wants them.

        Raises:
            StaleError: The lease was lost.
        """
        cancel = cancel or Cancel()
        started = self.clock.monotonic()
        if options.only is not None:
            options = replace(options, only=options.only.going_on(look.plan, look.situation.baselines))
        results: dict[ResourceId, Result] = {}
        refusals: tuple[Refusal, ...] = ()
        lifted: dict[str, tuple[Refusal, str]] = {}
        awaited: frozenset[str] = frozenset()
        healed: frozenset[ResourceId] = frozenset()
        timed_out = False
        first: Plan | None = None

        def again() -> Look:
            return _narrowed(self.look(look.scope, look.tree, holds=not options.ignore_holds), options)

        for _ in range(MAX_ROUNDS):
            look = _narrowed(self._twice_seen(look), options)
            first = look.plan if first is None else first
            notice_drift(self.store, look, options.targets, self.clock.now())
            saved = options.only.digest if options.only is not None else ""
            approvals = begin(self.store, look.plan, self.approvals(), saved)
            refusals, runnable, awaited = self._runnable(look, options, approvals)
            if not runnable:
                stopped = {target for refusal in refusals for target in refusal.targets}
                left = self._left(options, started) if options.wait else 0.0
                freed = until_free(look, again, stopped, self.clock, left, cancel, progress)
                if freed is None:
                    break
                look = freed
                continue
            going = {change.id.target for change in runnable}
            for refusal in look.plan.refusals:
                if going.intersection(refusal.targets):
                    approval = approval_of(look.plan, refusal, approvals)
                    lifted[refusal.message] = (refusal, approval.by if approval else options.by)
            run = self._apply(look, runnable, options, progress, cancel, self._left(options, started))
            results.update((r.id, r) for r in run.run())
            timed_out = run.timed_out
            done = {r.id for r in results.values() if r.state is State.DONE}
            healed |= drift_healed(self.store, look, done, self.clock.now())
            conflict = any(r.code == "conflict" for r in results.values() if r.state is State.FAILED)
            waiting = bool(done) and bool(look.plan.blocked)
            if not (conflict or waiting) or cancel.requested:
                break
            look = again()
        after_run(self.store, look, tuple(results.values()), options.targets, self.clock.now(), self.backoff)
        finish(self.store, look, results, options.targets)
        remember_demands(self.store, look, results, options.targets)
        remember_origin(self.store, Origin(self.origin, look.state.environment), results)
        unhealthy: dict[str, str] = {}
        if results and options.wait and not cancel.requested:
            drivers, _ = self.drivers(self._targets(look))
            left = self._left(options, started)
            unhealthy, late = until_healthy(
                self._observer, drivers, results.values(), self.clock, left, cancel, progress
            )
            timed_out = timed_out or late
        outcome = Outcome(
            look.plan,
            self.look(look.scope, look.tree) if results else look,
            tuple(results.values()),
            refusals,
            tuple(lifted.values()),
            unhealthy,
            "" if timed_out else cancel.reason,
            timed_out,
            awaited,
            healed,
        )
        if results:
            seconds = self.clock.monotonic() - started
            ran = look.plan if first is None else first
            record_run(self.store, look, outcome, options, seconds, self.clock.now(), ran.digest)
        return outcome

    def execute(
        self,
        look: Look,
        changes: Sequence[Change],
        options: ApplyOptions,
        progress: Progress,
        cancel: Cancel,
    ) -> tuple[Result, ...]:
        """Carries just these changes out, once, without planning again; what deletes on command builds on.

        Raises:
            StaleError: The lease was lost.
        """
        return tuple(self._apply(look, changes, options, progress, cancel, options.timeout).run())

    def _left(self, options: ApplyOptions, started: float) -> float | None:
        return None if options.timeout is None else options.timeout - (self.clock.monotonic() - started)

    def _twice_seen(self, look: Look) -> Look:
        """Deletes are planned twice, from two observations; what the second one does not want is not deleted."""
        deletes = {c.id for c in look.plan.changes if c.action is Action.DELETE}
        if not deletes:
            return look
        drivers, _ = self.drivers(self._targets(look))
        everything = {**{d.target: d for d in self.registries}, **drivers}
        concerned = {i.target for i in deletes}
        observations = dict(look.situation.observations)
        for name in concerned:
            if name in everything:
                recorded = (id_ for id_ in look.situation.baselines if id_.target == name)
                known = list(dict.fromkeys((*(d.id for d in look.situation.desired if d.id.target == name), *recorded)))
                observations[name] = self._observer.one(everything[name], known)
        situation = replace(look.situation, observations=observations, agreed=frozenset(deletes))
        made = plan(situation, self._memo)
        reporting = partial(self._report, made, situation, situation.baselines)
        return replace(look, situation=situation, plan=made, reporting=reporting)

    def _targets(self, look: Look) -> dict[str, Target]:
        wanted = {**self.store.targets(), **look.state.targets}
        return {n: t for n, t in wanted.items() if n in look.situation.observations}

    def _runnable(
        self, look: Look, options: ApplyOptions, approvals: tuple[Approval, ...]
    ) -> tuple[tuple[Refusal, ...], Sequence[Change], frozenset[str]]:
        refusals = standing(look.plan, approvals, options.allowed, options.max_delete_percent)
        stopped = {target for refusal in refusals for target in refusal.targets}
        changes = without(stopped, tuple(look.plan.effective()), self.store.baselines())
        own = options.targets
        if own is None:
            return tuple(refusals), changes, frozenset()
        refusals = [r for r in refusals if own & {*r.targets, *((r.id.target,) if r.id else ())}]
        cut = portion(changes, own, self.store.baselines(), look.state.desired)
        return tuple(refusals), cut.changes, cut.awaited

    def _apply(
        self,
        look: Look,
        changes: Sequence[Change],
        options: ApplyOptions,
        progress: Progress,
        cancel: Cancel,
        timeout: float | None,
    ) -> Apply:
        drivers, _ = self.drivers(self._targets(look))
        everything = {**{d.target: d for d in self.registries}, **drivers}
        for name, target in look.state.targets.items():
            if name in drivers:
                self.store.put_target(target)
        baselines = look.situation.baselines
        outputs: dict[ResourceId, Mapping[str, Any]] = {i: b.outputs for i, b in baselines.items()}
        for observation in look.situation.observations.values():
            outputs.update((i, o.outputs) for i, o in observation.resources.items() if o.outputs)
        keys: dict[str, Secret] = dict(look.state.keys)
        return Apply(
            everything,
            self.store,
            self.clock,
            [c for c in changes if c.id.target in everything],
            baselines,
            outputs,
            keys,
            progress,
            cancel,
            timeout,
            self.workers,
            look.situation.moves,
        )
