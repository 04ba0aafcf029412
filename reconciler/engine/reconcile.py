"""The eight hops as one value passed along: fetch, load, resolve, observe, plan, apply, report.

`Reconciler.look` goes up to the plan and writes nothing; `Reconciler.carry_out` does the rest. The daemon and every
command call these two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import structlog

from reconciler.core.change import Action, Change, Plan, Refusal
from reconciler.core.contents import Tree
from reconciler.core.deployment import Target
from reconciler.core.driver import Driver
from reconciler.core.errors import StaleError, TargetError
from reconciler.core.plan import plan
from reconciler.core.problems import Problem
from reconciler.core.report import Report, report_of
from reconciler.core.resources import Baseline, Completeness, Health, Observation, Observed, ResourceId
from reconciler.core.safety import standing
from reconciler.core.secrets import Secret
from reconciler.core.situation import Hold, Memo, Rails, Situation
from reconciler.core.values import digest
from reconciler.engine.apply import Apply
from reconciler.engine.clock import Cancel, Clock
from reconciler.engine.desired import DesiredState
from reconciler.engine.lifecycle import State
from reconciler.engine.portion import portion
from reconciler.engine.progress import Progress, ProgressEvent, Result
from reconciler.engine.store import Attempt, Store

log = structlog.get_logger(__name__)

SERVICES = "services/"
MAX_ROUNDS = 4
HEALTH_POLL_SECONDS = 0.25


class States(Protocol):
    """Computes what a tree wants: `DesiredStates`, or one who computed it already."""

    def of(self, tree: Tree) -> DesiredState:
        """The desired state of a tree; problems are in it, none is raised."""
        ...


@dataclass(frozen=True)
class Look:
    """What is wanted, what is there, and the plan that follows: hops 2 to 6."""

    tree: Tree
    scope: frozenset[str] | None
    state: DesiredState
    situation: Situation
    plan: Plan
    report: Report


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How a plan is carried out.

    Args:
        partial: Go on although some manifests have errors.
        allowed: Codes of rails that this call lifts.
        timeout: Seconds for everything, health included; None waits as long as the targets' own deadlines allow.
        wait: Wait until what changed is healthy.
        ignore_holds: Try again what failed before at once.
        by: Who asked, for the record.
        targets: Carry out only changes of these targets, and only those that wait for no other target; None for all.
    """

    partial: bool = False
    allowed: frozenset[str] = frozenset()
    timeout: float | None = None
    wait: bool = True
    ignore_holds: bool = False
    by: str = ""
    targets: frozenset[str] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: hop 8.

    Args:
        refusals: Rails that stopped all or part of it.
        unhealthy: Services that changed and did not become healthy, with the reason.
        cancelled: Why it stopped early; empty if it did not.
        awaited: Targets outside of this run whose changes must come first.
    """

    plan: Plan
    report: Report
    results: tuple[Result, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unhealthy: Mapping[str, str] = field(default_factory=dict[str, str])
    cancelled: str = ""
    timed_out: bool = False
    awaited: frozenset[str] = frozenset()

    @property
    def failed(self) -> tuple[Result, ...]:
        """Changes that failed or were skipped because another failed."""
        return tuple(r for r in self.results if r.state in (State.FAILED, State.SKIPPED))

    @property
    def word(self) -> str:
        """For history: `applied`, `partly`, `failed`, `refused`, `interrupted`."""
        if self.cancelled:
            return "interrupted"
        if self.failed:
            return "partly" if any(r.state is State.DONE for r in self.results) else "failed"
        if self.refusals and not self.results:
            return "refused"
        return "applied"


@dataclass
class Reconciler:
    """One installation's reconciling.

    Args:
        source: Gives the tree of the revision to reconcile.
        states: Computes what it wants.
        drivers: A driver for any target, also one that Git no longer names.
        registries: The built-in registries' drivers.
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
    workers: int = 8
    backoff: Callable[[int], float] = lambda attempts: min(10.0 * 2.0 ** (attempts - 1), 900.0)
    _memo: Memo = field(default_factory=Memo, init=False)
    _seen: dict[ResourceId, Observed] = field(default_factory=dict[ResourceId, Observed], init=False)

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
        observations = self._observe(drivers, state, baselines)
        situation = self._situation(state, drivers, baselines, observations, scope, holds)
        made = plan(situation, self._memo)
        return Look(tree, scope, state, situation, made, self._report(made, observations, baselines))

    def _in_scope(self, state: DesiredState, scope: frozenset[str] | None) -> dict[str, Driver]:
        """Drivers of what Git names and of what we once applied to, by target name."""
        recorded = {name: target for name, target in self.store.targets().items() if name not in state.targets}
        wanted = {**recorded, **state.targets}
        drivers, _ = self.drivers({n: t for n, t in wanted.items() if scope is None or n in scope})
        return {**{d.target: d for d in self.registries}, **drivers}

    def _observe(
        self, drivers: Mapping[str, Driver], state: DesiredState, baselines: Mapping[ResourceId, Baseline]
    ) -> dict[str, Observation]:
        known: dict[str, list[ResourceId]] = {name: [] for name in drivers}
        for id_ in dict.fromkeys((*(d.id for d in state.desired), *baselines)):
            if id_.target in known:
                known[id_.target].append(id_)
        if len(drivers) == 1:
            return {name: self._observe_one(driver, known[name]) for name, driver in drivers.items()}
        with ThreadPoolExecutor(min(len(drivers), 16) or 1, thread_name_prefix="observe") as pool:
            futures = {n: pool.submit(self._observe_one, driver, known[n]) for n, driver in drivers.items()}
            return {name: future.result() for name, future in futures.items()}

    def _observe_one(self, driver: Driver, known: Sequence[ResourceId]) -> Observation:
        try:
            observation = driver.observe(known)
        except TargetError as exc:
            return Observation(driver.target, Completeness.UNAVAILABLE, missing=exc.message)
        # The same object for the same reading lets the planner's memo skip it.
        same: dict[ResourceId, Observed] = {}
        for id_, observed in observation.resources.items():
            before = self._seen.get(id_)
            same[id_] = before if before == observed and before is not None else observed
        self._seen.update(same)
        return replace(observation, resources=same)

    def _situation(
        self,
        state: DesiredState,
        drivers: Mapping[str, Driver],
        baselines: Mapping[ResourceId, Baseline],
        observations: Mapping[str, Observation],
        scope: frozenset[str] | None,
        holds: bool,
    ) -> Situation:
        before = frozenset(s for name in drivers for s in self.store.fact(SERVICES + name) or ())
        removed = before - state.services if state.whole and state.services else frozenset[str]()
        if state.whole and not state.services and len(before) == 1:
            removed = before
        held: dict[ResourceId, Hold] = {i: h for i, (h, _) in self.store.holds().items()} if holds else {}
        in_scope = [d for d in state.desired if d.id.target in drivers]
        return Situation(
            revision=state.revision,
            desired=in_scope,
            observations=observations,
            capabilities={name: driver.capabilities for name, driver in drivers.items()},
            baselines=baselines if scope is None else {i: b for i, b in baselines.items() if i.target in drivers},
            installation=self.installation,
            now=self.clock.now(),
            loaded_whole=state.whole,
            incomplete=state.incomplete,
            removed=removed,
            suspended=frozenset(self.store.suspensions()),
            holds=held,
            rails=self.rails,
            problems=state.problems,
            warnings=state.warnings,
        )

    def _report(
        self, made: Plan, observations: Mapping[str, Observation], baselines: Mapping[ResourceId, Baseline]
    ) -> Report:
        revisions = {i: b.revision for i, b in baselines.items()}
        since = {i: at for i, (at, _) in self.store.drift_since().items()}
        return report_of(self.installation, made, observations, revisions, since)

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
        results: dict[ResourceId, Result] = {}
        refusals: tuple[Refusal, ...] = ()
        awaited: frozenset[str] = frozenset()
        timed_out = False
        for _ in range(MAX_ROUNDS):
            look = self._twice_seen(look)
            self._notice_drift(look, options.targets)
            refusals, runnable, awaited = self._runnable(look, options)
            if not runnable:
                break
            run = self._apply(look, runnable, options, progress, cancel, self._left(options, started))
            results.update((r.id, r) for r in run.run())
            timed_out = run.timed_out
            again = any(r.code == "conflict" for r in results.values() if r.state is State.FAILED)
            waiting = any(r.state is State.DONE for r in results.values()) and bool(look.plan.blocked)
            if not (again or waiting) or cancel.requested:
                break
            look = self.look(look.scope, look.tree, holds=not options.ignore_holds)
        self._after(look, tuple(results.values()), options.targets)
        unhealthy: dict[str, str] = {}
        if results and options.wait and not cancel.requested:
            unhealthy, late = self._until_healthy(look, results, self._left(options, started), cancel, progress)
            timed_out = timed_out or late
        outcome = Outcome(
            look.plan,
            self.look(look.scope, look.tree).report if results else look.report,
            tuple(results.values()),
            refusals,
            unhealthy,
            "" if timed_out else cancel.reason,
            timed_out,
            awaited,
        )
        if results:
            self.record(look, outcome, options, self.clock.monotonic() - started)
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
                known = [d.id for d in look.situation.desired if d.id.target == name]
                observations[name] = self._observe_one(everything[name], known)
        situation = replace(look.situation, observations=observations)
        made = plan(situation, self._memo)
        report = self._report(made, observations, situation.baselines)
        return replace(look, situation=situation, plan=made, report=report)

    def _targets(self, look: Look) -> dict[str, Target]:
        wanted = {**self.store.targets(), **look.state.targets}
        return {n: t for n, t in wanted.items() if n in look.situation.observations}

    def _runnable(
        self, look: Look, options: ApplyOptions
    ) -> tuple[tuple[Refusal, ...], Sequence[Change], frozenset[str]]:
        refusals = standing(look.plan, frozenset(self.store.approvals()), options.allowed)
        stopped = {target for refusal in refusals for target in refusal.targets}
        changes = [c for c in look.plan.effective() if c.id.target not in stopped]
        own = options.targets
        if own is None:
            return tuple(refusals), changes, frozenset()
        refusals = [r for r in refusals if own & {*r.targets, *((r.id.target,) if r.id else ())}]
        cut = portion(changes, own, self.store.baselines())
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
        )

    def _after(self, look: Look, results: Sequence[Result], own: frozenset[str] | None) -> None:
        """What a run leaves in the record beyond the baselines: holds, retention, the services of this revision."""
        for result in results:
            if result.state is State.FAILED and result.code not in ("conflict", "interrupted"):
                _, attempts = self.store.holds().get(result.id, (None, 0))
                until = self.clock.now() + self.backoff(attempts + 1)
                reason = result.reason.partition("\n")[0]
                self.store.put_hold(result.id, Hold(result.spec_digest, reason, until), attempts + 1)
        baselines = look.situation.baselines
        unused = [k.id for k in look.plan.kept if k.code == "retained" and (own is None or k.id.target in own)]
        now = self.clock.now()
        stale = [replace(b, unused_since=now) for i in unused if (b := baselines.get(i)) and b.unused_since is None]
        self.store.put(*stale)
        if look.state.whole:
            self._remember_services(look, own)

    def _remember_services(self, look: Look, own: frozenset[str] | None) -> None:
        """Which services a whole revision names, target by target: what the next one may then be said to take out."""
        named: dict[str, set[str]] = {name: set() for name in look.situation.observations if own is None or name in own}
        for desired in look.state.desired:
            if desired.service and desired.id.target in named:
                named[desired.id.target].add(desired.service)
        for target, services in named.items():
            if services or self.store.fact(SERVICES + target):
                self.store.put_fact(SERVICES + target, sorted(services))

    def _notice_drift(self, look: Look, own: frozenset[str] | None) -> None:
        """Drift is recorded when it begins, when it becomes another, and when it ends; never in between."""
        known = self.store.drift_since()
        now = self.clock.now()
        seen: set[ResourceId] = set()
        for drift in look.plan.drift:
            if own is not None and drift.id.target not in own:
                continue
            seen.add(drift.id)
            fingerprint = digest([[f.to_json() for f in drift.fields], drift.gone])[:16]
            since, data = known.get(drift.id, (now, {}))
            if data.get("digest") == fingerprint:
                continue
            fields = [f.pointer for f in drift.fields]
            entry = {"digest": fingerprint, "fields": fields, "gone": drift.gone, "note": drift.note}
            self.store.put_drift(drift.id, since, {**entry, "count": int(data.get("count", 0)) + 1})
            self.store.record(
                Attempt(now, str(look.plan.revision), "drift", {"id": str(drift.id), "service": drift.service, **entry})
            )
            log.warning("drift", resource=str(drift.id), fields=fields, gone=drift.gone, note=drift.note)
        ended = [
            i
            for i in known
            if i not in seen
            and (own is None or i.target in own)
            and (o := look.situation.observations.get(i.target)) is not None
            and o.complete
        ]
        self.store.drop_drift(ended)

    def _until_healthy(
        self,
        look: Look,
        results: Mapping[ResourceId, Result],
        timeout: float | None,
        cancel: Cancel,
        progress: Progress,
    ) -> tuple[dict[str, str], bool]:
        """Waits for the changed resources to be healthy at the version applied; what never will be ends the wait."""
        drivers, _ = self.drivers(self._targets(look))
        waiting = {
            r.id: r
            for r in results.values()
            if r.state is State.DONE and r.action not in (Action.DELETE, Action.FORGET) and r.id.target in drivers
        }
        unhealthy: dict[str, str] = {}
        limit = self.clock.monotonic() + (timeout if timeout is not None else 600.0)
        while waiting:
            for target in {i.target for i in waiting}:
                observation = self._observe_one(drivers[target], list(waiting))
                for id_ in [i for i in waiting if i.target == target]:
                    verdict = self._healthy(observation, waiting[id_])
                    if verdict is None:
                        continue
                    result = waiting.pop(id_)
                    if verdict:
                        unhealthy[result.service or str(id_)] = verdict
            if not waiting:
                break
            if self.clock.monotonic() >= limit:
                for id_, result in waiting.items():
                    unhealthy[result.service or str(id_)] = "not healthy in the time given"
                return unhealthy, True
            first = next(iter(waiting.values()))
            progress(ProgressEvent(first.id, first.action, first.steps[-1], State.DONE, "waiting for health", 0.0)) if (
                first.steps
            ) else None
            if self.clock.wait(cancel.event, HEALTH_POLL_SECONDS):
                break
        return unhealthy, False

    def _healthy(self, observation: Observation, result: Result) -> str | None:
        """Empty if healthy, a reason if it will not become so by itself, None if it may."""
        observed = observation.resources.get(result.id)
        if observed is None:
            return "it is gone" if observation.complete else None
        if observed.mark is not None and result.spec_digest and observed.mark.spec_digest != result.spec_digest:
            return None
        if observed.health in (Health.HEALTHY, Health.SUSPENDED):
            return ""
        return (observed.reason or observed.health.value) if observed.health is Health.DEGRADED else None

    def record(self, look: Look, outcome: Outcome, options: ApplyOptions, seconds: float) -> None:
        """Adds a run to the history.

        Raises:
            StaleError: The lease was lost.
        """
        changes = [
            {
                "id": str(r.id),
                "action": r.action.value,
                "service": r.service,
                "state": r.state.value,
                "steps": [s.value for s in r.steps],
                "reason": r.reason,
                "seconds": r.seconds,
            }
            for r in outcome.results
        ]
        data: dict[str, Any] = {
            "digest": look.plan.digest,
            "subject": look.plan.revision.subject,
            "seconds": round(seconds, 3),
            "changes": changes,
            "by": options.by,
        }
        if outcome.unhealthy:
            data["unhealthy"] = dict(outcome.unhealthy)
        if outcome.refusals:
            data["refusals"] = [r.message for r in outcome.refusals]
        try:
            self.store.record(Attempt(self.clock.now(), str(look.plan.revision), outcome.word, data))
        except StaleError:
            log.warning("lease lost before the run was recorded", revision=str(look.plan.revision))
            raise
