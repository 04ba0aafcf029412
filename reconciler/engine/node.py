"""One change on its way: intent written before each call, result after, tests in between, undone if they fail.

A node is moved on by `advance`, called from a worker thread whenever it is due; the scheduler (`engine.apply`) decides
when. Every move goes through the transition table of `engine.lifecycle`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from reconciler.core.change import Action, Change, Step
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.driver import Driver, Endpoint, InProgress
from reconciler.core.errors import ReconcilerError, Retry, TargetError, TimedOutError, UnavailableError
from reconciler.core.outputs import fill_change
from reconciler.core.record import confirmed, intended, undone
from reconciler.core.resources import Baseline, Health, Observation, Observed, Pending, ResourceId
from reconciler.core.rollout import share_at
from reconciler.core.secrets import Secret
from reconciler.core.values import unknowns, walk
from reconciler.engine.clock import Clock
from reconciler.engine.judge import Verdict, judge
from reconciler.engine.lifecycle import FINAL, Signal, State, follow
from reconciler.engine.progress import Progress, ProgressEvent, Result
from reconciler.engine.store import Store

MAX_TRIES = 4
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node needs from outside.

    Args:
        look: Observes a target; the answer is not older than the given monotonic time.
        outputs: What a resource that is there (or was just made) gives to others.
        keys: The key to test a service with.
        moves: Services that say what they moved from -> the name they had before.
    """

    driver: Driver
    store: Store
    clock: Clock
    progress: Progress
    look: Callable[[str, float], Observation]
    outputs: Callable[[ResourceId], Mapping[str, Any]]
    keys: Mapping[str, Secret]
    moves: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass
class Node:
    """The progress of one change; only one thread works on it at a time."""

    change: Change
    around: Surroundings
    prior: Baseline | None
    state: State = State.WAITING
    due: float = 0.0
    index: int = 0
    tries: int = 0
    started: float | None = None
    ended: float | None = None
    deadline: float = 0.0
    called_at: float = 0.0
    awaiting: bool = False
    asked_again: bool = False
    answered: Observed | None = None
    waits_for: str = ""
    reason: str = ""
    code: str = ""
    hint: str = ""
    done_steps: list[Step] = field(default_factory=list[Step])
    filled: Change | None = None
    interval: float = 1.0

    @property
    def id(self) -> ResourceId:
        """The resource it is about."""
        return self.change.id

    @property
    def final(self) -> bool:
        """Nothing more will happen to it in this run."""
        return self.state in FINAL

    @property
    def step(self) -> Step:
        """The step it is at; the last one once it is through."""
        steps = self.change.steps or (Step.APPLY,)
        return steps[min(self.index, len(steps) - 1)]

    def result(self) -> Result:
        """How it ended."""
        digest = self.change.mark.spec_digest if self.change.mark else ""
        return Result(
            self.id,
            self.change.action,
            self.state,
            self.change.service,
            self.reason,
            self.code,
            self.hint,
            tuple(self.done_steps),
            round(self.seconds, 3),
            digest,
            self.around.moves.get(self.change.service, "") if self.change.moved_from is not None else "",
        )

    # Moving on

    def move(self, signal: Signal, text: str = "") -> None:
        """Follows a signal and tells those who watch."""
        self.state = follow(self.state, signal)
        self.waits_for = text if signal is Signal.ACCEPTED else ""
        self._tell(text)

    def hand_over(self, why: str) -> None:
        """The run ends before it does: what it last waited for stands beside the reason."""
        self.reason = f"{why}; {self.waits_for}" if self.waits_for else why
        self.code = "interrupted"
        self.move(Signal.CANCELLED, self.reason)

    def _tell(self, text: str) -> None:
        if self.final:
            self.ended = self.around.clock.monotonic()
        self.around.progress(ProgressEvent(self.id, self.change.action, self.step, self.state, text, self.seconds))

    @property
    def seconds(self) -> float:
        """How long it has been at it, or was."""
        if self.started is None:
            return 0.0
        return (self.ended if self.ended is not None else self.around.clock.monotonic()) - self.started

    def advance(self) -> None:
        """Does what is due: a call, a look, a test. Never raises; what goes wrong becomes the node's end."""
        now = self.around.clock.monotonic()
        if self.started is None:
            self.started = now
            self.deadline = now + self.around.driver.capabilities.deadline_seconds
        try:
            if self.state is not State.WAITING and now >= self.deadline:
                last = "" if self.state is State.UNDOING else self.waits_for or self.reason
                limit = f"not done within {self.around.driver.capabilities.deadline_seconds:.0f} s"
                raise TimedOutError(f"{limit}; {last}" if last else limit)
            self._advance()
        except TargetError as exc:
            self._target_said(exc)
        except ReconcilerError as exc:
            self._fail(exc.message, exc.code, exc.hint)
        except Exception as exc:
            # A fault of ours or of a driver must not take the other changes down with it.
            log.exception("internal error", extra={"resource": str(self.id)})
            self._fail(f"internal error: {type(exc).__name__}", "internal", "the daemon's log has the details")

    def _advance(self) -> None:
        if self.state is State.UNDOING:
            self._undo()
        elif self.awaiting:
            self._await()
        elif self.index >= len(self.change.steps):
            self._finish()
        elif self.step is Step.TEST:
            self._test()
        else:
            self._call()

    def _next(self) -> None:
        self.done_steps.append(self.step)
        self.index += 1
        self.awaiting, self.tries = False, 0
        self.due = self.around.clock.monotonic()
        if self.index >= len(self.change.steps):
            self._finish()
        elif self.step is Step.TEST:
            self.move(Signal.NEXT_TEST)
        else:
            self.move(Signal.NEXT_CALL)

    # Calls

    def _call(self) -> None:
        if self.state in (State.WAITING, State.BACKING_OFF):
            self.move(Signal.READY if self.state is State.WAITING else Signal.NEXT_CALL)
        filled = self._filled()
        if not filled.steps:
            self._finish()
            return
        self._intend(filled, self.step)
        self.called_at = self.around.clock.monotonic()
        answer = self.around.driver.apply(self._asked(filled))
        if isinstance(answer, InProgress):
            # Without a token all that there is to know was written before the call.
            if answer.token:
                self._intend(filled, self.step, answer.token)
            self._wait(answer.retry_after)
            if answer.again:
                # It is the driver that moves it on, and that says when it is too late.
                self.awaiting, self.tries = False, 0
                self.deadline = self.called_at + self.around.driver.capabilities.deadline_seconds
            self.move(Signal.ACCEPTED, answer.text)
        else:
            self.answered = answer.answered or self.answered
            self._next()

    def _asked(self, filled: Change) -> Change:
        if self.step is not Step.SHIFT:
            return replace(filled, step=self.step)
        share = share_at(self.change, self.index)
        return replace(filled, step=self.step, share=share, key=self.around.keys.get(self.change.service))

    def _wait(self, seconds: float) -> None:
        self.awaiting = True
        self.due = self.around.clock.monotonic() + seconds
        self.interval = seconds

    def _await(self) -> None:
        observation = self.around.look(self.id.target, self.due)
        judgement = judge(self._filled(), self.step, observation)
        match judgement.verdict:
            case Verdict.DONE:
                self.answered = judgement.observed or self.answered
                self._next()
            case Verdict.STILL:
                # Looks grow rarer as the work takes longer, and never cost more than a tenth of its time.
                now = self.around.clock.monotonic()
                self.due = now + max(self.interval, min((now - self.called_at) * 0.1, 15.0))
                self.move(Signal.ACCEPTED, judgement.reason)
            case Verdict.FAILED if self.step is Step.APPLY and not self.asked_again:
                # Only the driver knows whether what failed is worth another try: the next call raises its class.
                self.asked_again, self.awaiting = True, False
                self.due = self.around.clock.monotonic()
                self.move(Signal.NEXT_CALL, judgement.reason)
            case Verdict.FAILED:
                self._failed_step(judgement.reason, "not-ready")

    def _filled(self) -> Change:
        """The change with its unknowns filled in, once, just before its first call."""
        if self.filled is None:
            self.filled = fill_change(self.change, self.around.outputs)
            left = unknowns(self.filled.desired.spec) if self.filled.desired else []
            if left:
                unknown = left[0]
                self.filled = None
                raise TargetError(
                    f"{unknown.source} was applied but does not report {unknown.pointer}, which {self.id} needs"
                )
            if not self.filled.steps:
                self.index = len(self.change.steps)
        return self.filled

    # The record

    def _intend(self, change: Change, step: Step, token: str = "") -> None:
        # Under its new name nothing is confirmed before it has it.
        base = self.prior if self.prior and not self.renames else Baseline(self.id, service=change.service)
        revision = change.mark.revision if change.mark else ""
        pending = Pending(change.action.value, step.value, intended(change), revision, token, self.around.clock.now())
        self.around.store.put(replace(base, pending=pending))

    def _finish(self) -> None:
        change = self._filled()
        if change.action in (Action.DELETE, Action.FORGET):
            self.around.store.forget(self.id)
        else:
            before = self.around.moves.get(change.service, "")
            if before and (self.renames or self.prior is None or self.prior.sent is None):
                # Before what was made is confirmed: after a crash in between, the keys are those it was made with.
                self.around.store.move_keys(change.service, before)
            self.around.store.put(confirmed(change, self._answer(change), self.prior), settled=True)
            self._forget_former()
        self.move(Signal.STEP_DONE)

    def _answer(self, change: Change) -> Observed:
        """The resource as the target reports it after the last call."""
        if self.answered is not None:
            return self.answered
        if not change.steps and change.observed is not None:
            return change.observed
        now = self.around.clock.monotonic()
        found = self.around.look(self.id.target, now).resources.get(self.id)
        if found is None:
            raise UnavailableError(f"{self.id} was applied but cannot be read back")
        return found

    def _withdraw(self, *, undone: bool = False) -> None:
        """Nothing was written (or what was written is undone): the record is what it was.

        A new name is not taken back: what was renamed and then undone is as before under its new one.
        """
        prior = self.prior
        if undone and prior is not None and prior.pending is not None:
            # It was this run that ended what an earlier one had begun.
            prior = replace(prior, pending=None) if prior.sent is not None else None
        if prior is not None and (undone or not self.renames):
            self.around.store.put(prior)
            self._forget_former()
        else:
            self.around.store.unrecord(self.id)

    @property
    def renames(self) -> bool:
        """It renames a resource: `prior` is then the record of its former name, under the new one."""
        return self.change.moved_from is not None and self.change.action is Action.UPDATE

    def _forget_former(self) -> None:
        if self.renames and self.change.moved_from is not None:
            self.around.store.forget(self.change.moved_from)

    # Tests

    def _test(self) -> None:
        if self.state is State.WAITING:
            self.move(Signal.NEXT_TEST)
        change = self.change
        staged = Step.PROMOTE in change.steps
        driver = self.around.driver
        if not staged and self.answered is not None and self.answered.health is Health.DEGRADED:
            # What answers in its place, if anything does, is the version before.
            self._failed_step(self.answered.reason or "it is degraded", "not-ready")
            return
        address = driver.address(self.id, staged=staged) if isinstance(driver, Endpoint) else None
        if address is None:
            self._failed_step("it cannot be tested: it has no address", "tests-failed")
            return
        tests = change.desired.tests if change.desired else ()
        # Imported where there is something to test, since the HTTP client takes a tenth of a second to load.
        from reconciler.engine.smoke import run_tests

        problems = run_tests(address, tests, self.around.keys.get(change.service), _texts(change))
        if problems:
            self._failed_step("; ".join(problems), "tests-failed")
        else:
            self._next()

    # What goes wrong

    def _target_said(self, exc: TargetError) -> None:
        passing = exc.retry is Retry.WAIT or (exc.retry is Retry.BACKOFF and self.tries + 1 < MAX_TRIES)
        if self.state is State.UNDOING and exc.retry is Retry.OBSERVE and self.tries + 1 < MAX_TRIES:
            # What is undone is what stands there, whatever became of it since the test.
            self.tries += 1
            self.due = self.around.clock.monotonic()
            self.answered = self.around.look(self.id.target, self.due).resources.get(self.id)
            self.move(Signal.ACCEPTED, exc.message)
            return
        if passing and self.state in (State.CALLING, State.IN_PROGRESS, State.TESTING, State.UNDOING):
            self.tries += 1
            delay = exc.retry_after if exc.retry_after is not None else min(2.0 ** (self.tries - 1), 15.0)
            self.due = min(self.around.clock.monotonic() + delay, self.deadline)
            if self.state is not State.UNDOING:
                self.reason = exc.message
            if self.state in (State.CALLING, State.TESTING):
                self.move(Signal.TRY_AGAIN, exc.message)
            else:
                self.move(Signal.ACCEPTED, exc.message)
            return
        nothing_written = exc.retry in (Retry.STOP, Retry.OBSERVE)
        if self.state is State.TESTING and exc.retry is Retry.STOP:
            # What can never be asked is never known to work.
            self._failed_step(f"it cannot be tested: {exc.message}", exc.code, exc.hint)
            return
        if nothing_written and self.state is not State.UNDOING and self.step in (Step.SHIFT, Step.PROMOTE):
            self._failed_step(exc.message, exc.code, exc.hint)
            return
        if nothing_written and self.state is State.CALLING:
            if Step.STAGE in self.change.steps:
                self._failed_step(exc.message, exc.code, exc.hint)
                return
            self._withdraw()
        self._fail(exc.message, exc.code, exc.hint)

    def _fail(self, reason: str, code: str, hint: str = "") -> None:
        if self.state is State.UNDOING:
            # Why it is undone is what has to be mended first.
            reason, code, hint = f"{self.reason}; undoing it failed: {reason}", self.code, self.hint or hint
        self.reason, self.code, self.hint = reason, code, hint
        if not self.final:
            self.state = State.FAILED
            self._tell(reason)

    def _failed_step(self, reason: str, code: str, hint: str = "") -> None:
        """The new version is no good: with staging the old one never stopped, without it we go back."""
        self.reason, self.code, self.hint = reason, code, hint
        self.awaiting, self.tries = False, 0
        self.due = self.around.clock.monotonic()
        if Step.PROMOTE in self.change.steps or self.step is Step.TEST:
            self.move(Signal.STAGED_FAILED, reason)
        else:
            self._fail(reason, code, hint)

    def _undo(self) -> None:
        change = self._filled()
        if Step.PROMOTE in change.steps:
            step, undo = Step.DISCARD, change
        else:
            step, undo = Step.APPLY, self._way_back(change)
        if self.awaiting:
            judgement = judge(undo, step, self.around.look(self.id.target, self.due))
            if judgement.verdict is Verdict.STILL:
                self.due = self.around.clock.monotonic() + self.interval
                return
            answered = judgement.observed
        else:
            # The intent says so already: whoever leads by now goes on from there, and may have begun to.
            self.around.store.check()
            answer = self.around.driver.apply(replace(undo, step=step))
            if isinstance(answer, InProgress):
                self._wait(answer.retry_after)
                return
            answered = answer.answered
        self.done_steps.append(Step.DISCARD)
        self._withdraw(undone=True)
        self.answered = answered
        self.move(Signal.STEP_DONE, self.reason)

    def _way_back(self, change: Change) -> Change:
        """The change that brings the previous version back, or takes away a first one that failed its tests."""
        seen = self.answered or change.observed
        if self.prior is None or self.prior.sent is None or change.desired is None:
            return replace(change, action=Action.DELETE, desired=None, observed=seen, steps=(Step.APPLY,))
        there = seen or Observed(change.id, change.desired.spec)
        told = self.around.driver.capabilities
        pending = self.prior.pending
        if pending is not None and pending.action == Action.REPLACE:
            change = replace(change, action=Action.REPLACE)
        return replace(undone(change, there, self.prior.sent, told.write_only, told.closed), steps=(Step.APPLY,))


def _texts(change: Change) -> list[str]:
    """The secrets that a change hands to its target."""
    if change.desired is None:
        return []
    return [leaf.text for _, leaf in walk(change.desired.spec) if isinstance(leaf, Secret) and leaf.text is not None]
