"""One reconcile of one target: look, carry out its portion, report, and say when to look again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from reconciler.core.approval import Approval, approval_of
from reconciler.core.change import Action, Refusal
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.errors import ReconcilerError, StaleError
from reconciler.core.report import Report
from reconciler.core.resources import Completeness, Health, Observation
from reconciler.core.safety import standing
from reconciler.core.situation import Situation
from reconciler.engine.approvals import begin
from reconciler.engine.clock import Cancel
from reconciler.engine.daemon.again import Again, going_on, look_again
from reconciler.engine.daemon.board import Reconciled, counted
from reconciler.engine.daemon.inputs import Inputs
from reconciler.engine.daemon.queue import Work
from reconciler.engine.lifecycle import State
from reconciler.engine.outcome import ApplyOptions, Look, Outcome
from reconciler.engine.progress import ProgressEvent
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.store import Attempt

log = structlog.get_logger(__name__)

ERROR_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Run:
    """How a reconcile ended.

    Args:
        report: Of the target's own services; None if it did not get that far.
        seen: What was known and seen of the target at the end.
        awaited: Targets whose changes must come before some of this one's.
        changed: Something was carried out, so that those who wait for this target may go on.
    """

    record: Reconciled
    report: Report | None
    again: Again
    awaited: frozenset[str] = frozenset()
    changed: bool = False
    seen: Situation | None = None


@dataclass
class TargetWorker:
    """Reconciles one target; one run at a time.

    Args:
        target: Its name.
        reconciler: The installation's; this worker keeps a copy with memories of its own.
        alive: Called whenever a run makes progress.
    """

    target: str
    reconciler: Reconciler
    alive: Callable[[], None] = lambda: None
    _own: Reconciler = field(init=False)
    _polls: int = field(default=0, init=False)
    _streak: int = field(default=0, init=False)
    _health: dict[str, Health] = field(default_factory=dict[str, Health], init=False)
    _refused: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._own = replace(self.reconciler)

    def run(self, work: Work, inputs: Inputs, cancel: Cancel, id_: str) -> Run:
        """One reconcile.

        Args:
            id_: For the log.

        Raises:
            StaleError: The lease was lost.
        """
        clock = self._own.clock
        started = clock.monotonic()
        self._own.states = inputs

        def record(outcome: str, **more: Any) -> Reconciled:
            return Reconciled(
                id_,
                self.target,
                work.causes,
                inputs.tree.revision.short,
                outcome,
                clock.monotonic() - started,
                max(0.0, started - work.woken_at),
                clock.now(),
                **more,
            )

        with structlog.contextvars.bound_contextvars(reconcile=id_):
            try:
                return self._run(inputs, cancel, record)
            except StaleError:
                raise
            except ReconcilerError as exc:
                return Run(record("error", reason=exc.message, errors={exc.code: 1}), None, self._after_error())
            except Exception as exc:
                # A fault of ours or of a driver must not end the daemon; the next run starts afresh.
                log.exception("internal error", target=self.target)
                self._own = replace(self.reconciler)
                reason = f"internal error: {type(exc).__name__}"
                return Run(record("error", reason=reason, errors={"internal": 1}), None, self._after_error())

    def _after_error(self) -> Again:
        self._streak += 1
        return Again(min(ERROR_SECONDS * 2.0 ** min(self._streak - 1, 10), 900.0), "after an error")

    def _run(self, inputs: Inputs, cancel: Cancel, record: Callable[..., Reconciled]) -> Run:
        own = frozenset({self.target})
        registries = {driver.target for driver in self._own.registries}
        look = self._own.look(own - registries, inputs.tree)
        approver = self._approver(look, inputs)
        by = f"daemon, approved by {approver}" if approver else "daemon"
        options = ApplyOptions(partial=True, wait=False, by=by, targets=own)
        outcome = self._own.carry_out(look, options, self._progress, cancel)
        observation = look.situation.observations.get(self.target)
        report = self._report(outcome)
        self._tell_health(report)
        blocked = [b for b in outcome.plan.blocked if b.id.target == self.target]
        drift = [d for d in outcome.plan.drift if d.id.target == self.target]
        word = self._word(outcome, observation, bool(blocked))
        made = record(
            word,
            changes=counted(
                r.action.value if r.state is State.DONE else r.state.value
                for r in outcome.results
                if r.action is not Action.NOOP
            ),
            drift=len(drift),
            healed=len(outcome.healed),
            reported=sum(not d.healing for d in drift),
            health=counted(service.health.value for service in report.services),
            errors=counted(r.code for r in outcome.failed if r.code),
            refused=len(outcome.refusals),
            blocked=len(blocked),
            reason=self._reason(outcome, observation, [b.reason for b in blocked], word),
        )
        seen = outcome.last.situation
        return Run(made, report, self._next(outcome, observation), outcome.awaited, self._changed(outcome), seen)

    def _progress(self, event: ProgressEvent) -> None:
        self.alive()
        # Thousands come in a large run, and most daemons tell none of them.
        if not logging.getLogger(__name__).isEnabledFor(logging.DEBUG):
            return
        log.debug(
            "progress",
            resource=str(event.id),
            action=event.action.value,
            step=event.step.value,
            state=event.state.value,
        )

    # The next look

    def _changed(self, outcome: Outcome) -> bool:
        return any(r.state is State.DONE for r in outcome.results)

    def _next(self, outcome: Outcome, observation: Observation | None) -> Again:
        holds = [hold.until for id_, (hold, _) in self._own.store.holds().items() if id_.target == self.target]
        again = look_again(observation, outcome.results, holds, self._own.clock.now(), self._polls, self._streak)
        self._polls = self._polls + 1 if observation is not None and going_on(observation) else 0
        self._streak = self._streak + 1 if self._changed(outcome) else 0
        return again

    # What is told

    def _report(self, outcome: Outcome) -> Report:
        report = outcome.report
        services = tuple(s for s in report.services if s.target == self.target)
        return replace(report, services=services, targets={n: c for n, c in report.targets.items() if n == self.target})

    def _tell_health(self, report: Report) -> None:
        now = {service.name: service.health for service in report.services}
        for service in report.services:
            before = self._health.get(service.name)
            if before is not service.health and (before is not None or service.health is not Health.HEALTHY):
                worse = service.health not in (Health.HEALTHY, Health.PROGRESSING, Health.SUSPENDED)
                (log.warning if worse else log.info)(
                    "health",
                    service=service.name,
                    target=self.target,
                    before=before.value if before else None,
                    health=service.health.value,
                    reason=service.reason,
                )
        self._health = now

    def _word(self, outcome: Outcome, observation: Observation | None, blocked: bool) -> str:
        if observation is None or observation.completeness is Completeness.UNAVAILABLE:
            return "unavailable"
        if outcome.results or outcome.cancelled:
            return outcome.word
        if outcome.refusals and not all(refusal.waits for refusal in outcome.refusals):
            return "refused"
        return "waiting" if outcome.refusals or blocked or outcome.awaited else "in sync"

    def _reason(self, outcome: Outcome, observation: Observation | None, blocked: list[str], word: str) -> str:
        if word == "unavailable":
            return observation.missing if observation is not None else "it has no driver here"
        failed = next((f"{r.id}: {r.reason}" for r in outcome.failed), "")
        refused = next((r.message for r in outcome.refusals), "")
        waiting = f"waits for {', '.join(sorted(outcome.awaited))}" if outcome.awaited else ""
        return outcome.cancelled or failed or refused or next(iter(blocked), "") or waiting

    # Refusals and approvals

    def _approver(self, look: Look, inputs: Inputs) -> str:
        """Who approved what is stopped here, empty for nobody; what people approve is what `reconciler plan` shows.

        From here on an approval is one of a piece of work (`engine.approvals`): carrying out asks for no more.
        """
        approvals = self._own.approvals()
        if self._stopped(look, approvals):
            # What failed before waits for its time here, and is nevertheless what people see and approve.
            whole = self._own.look(None, inputs.tree, holds=False).plan
            approvals = begin(self._own.store, whole, approvals)
            left = self._stopped(look, approvals)
            if left:
                self._tell_refusal(whole.digest_for(left[0]), str(whole.revision), left)
                return ""
        self._refused = ""
        mine = (approval_of(look.plan, r, approvals) for r in look.plan.refusals if self.target in r.targets)
        return next((approval.by for approval in mine if approval is not None), "")

    def _stopped(self, look: Look, approvals: tuple[Approval, ...]) -> list[Refusal]:
        return [r for r in standing(look.plan, approvals) if self.target in r.targets]

    def _tell_refusal(self, digest: str, revision: str, refusals: list[Refusal]) -> None:
        """A refusal is told and recorded when it begins, not each time it is met."""
        if self._refused == digest:
            return
        self._refused = digest
        word = "waiting" if all(refusal.waits for refusal in refusals) else "refused"
        for refusal in refusals:
            (log.info if refusal.waits else log.warning)(
                "waits for approval" if refusal.waits else "refused",
                code=refusal.code,
                message=refusal.message,
                hint=refusal.hint,
                approve=f"reconciler approve {digest}",
                digest=digest,
            )
        data: Mapping[str, Any] = {"digest": digest, "refusals": [r.message for r in refusals], "by": "daemon"}
        store = self._own.store
        known = any(a.outcome == word and a.data.get("digest") == digest for a in store.history(50))
        if not known:
            store.record(Attempt(self._own.clock.now(), revision, word, data))
