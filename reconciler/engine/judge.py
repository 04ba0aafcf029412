"""Whether slow work is done: decided from an observation alone, never from what a call once answered."""

from __future__ import annotations

from enum import StrEnum

from reconciler.core.change import Action, Change, Step
from reconciler.core.dataclass import dataclass
from reconciler.core.resources import Health, Observation, Observed


class Verdict(StrEnum):
    """What an observation says of a step."""

    DONE = "done"
    STILL = "still"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the resource it was read from and, where it is not done, the target's reason."""

    verdict: Verdict
    observed: Observed | None = None
    reason: str = ""


def judge(change: Change, step: Step, observation: Observation) -> Judgement:
    """Whether a step that was in progress is done.

    An incomplete observation that does not show the resource says nothing.
    """
    observed = observation.resources.get(change.id)
    if observed is None:
        return _absent(change, step, observation)
    match step:
        case Step.STAGE:
            return _staged(change, observed)
        case Step.DISCARD:
            return Judgement(Verdict.DONE if observed.staged is None else Verdict.STILL, observed)
        case _:
            return _applied(change, observed)


def _absent(change: Change, step: Step, observation: Observation) -> Judgement:
    if not observation.complete:
        return Judgement(Verdict.STILL)
    if change.action is Action.DELETE or step is Step.DISCARD:
        return Judgement(Verdict.DONE)
    return Judgement(Verdict.FAILED, reason="it is gone from the target while it was being made")


def _staged(change: Change, observed: Observed) -> Judgement:
    wanted = change.mark.spec_digest if change.mark else ""
    staged = observed.staged
    if staged is None or staged.spec_digest != wanted:
        if observed.mark is not None and observed.mark.spec_digest == wanted:
            return Judgement(Verdict.DONE, observed)
        return Judgement(Verdict.FAILED, observed, observed.reason or "the staged version is gone")
    if staged.health is Health.HEALTHY:
        return Judgement(Verdict.DONE, observed)
    if staged.health in (Health.DEGRADED, Health.MISSING):
        return Judgement(Verdict.FAILED, observed, staged.reason or "the staged version did not become ready")
    return Judgement(Verdict.STILL, observed, staged.reason)


def _applied(change: Change, observed: Observed) -> Judgement:
    if change.action is Action.DELETE:
        if observed.health is Health.MISSING and not observed.busy:
            return Judgement(Verdict.DONE, observed)
        return Judgement(Verdict.STILL, observed, observed.reason)
    wanted = change.mark.spec_digest if change.mark else ""
    if observed.busy or (observed.health is Health.PROGRESSING and _digest(observed) != wanted):
        return Judgement(Verdict.STILL, observed, observed.reason)
    if _digest(observed) == wanted:
        return Judgement(Verdict.DONE, observed)
    return Judgement(Verdict.FAILED, observed, observed.reason or "the target ended the operation without the change")


def _digest(observed: Observed) -> str:
    return observed.mark.spec_digest if observed.mark else ""
