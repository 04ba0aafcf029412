"""How a run ended, as plain data: what a request's answer carries, and what commands print whoever did the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from reconciler.core.dataclass import dataclass, field
from reconciler.engine.lifecycle import State
from reconciler.engine.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Step:
    """How one change ended; words as in `engine.progress.Result`."""

    id: str
    action: str
    state: str
    service: str = ""
    reason: str = ""
    code: str = ""
    hint: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Something that was not done: a refusal, a block, or something kept, with its code and the way on."""

    id: str
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """An `Outcome` without plan and report.

    Args:
        outcome: `applied`, `partly`, `failed`, `refused`, `interrupted`.
        digest: Of the plan.
        exit_code: That a command ends with (docs/messages.md).
        unseen: Targets that were not seen whole, with the reason.
    """

    outcome: str
    revision: str
    digest: str
    exit_code: int
    changes: Sequence[Step] = ()
    refusals: Sequence[Stop] = ()
    blocked: Sequence[Stop] = ()
    kept: Sequence[Stop] = ()
    unhealthy: Mapping[str, str] = field(default_factory=dict[str, str])
    unseen: Mapping[str, str] = field(default_factory=dict[str, str])
    cancelled: str = ""
    timed_out: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        """The inverse of `to_json`."""
        known = {name: data[name] for name in cls.__slots__ if name in data}
        known["changes"] = tuple(Step(**step) for step in data.get("changes", ()))
        for name in ("refusals", "blocked", "kept"):
            known[name] = tuple(Stop(**stop) for stop in data.get(name, ()))
        return cls(**known)


def summary_of(outcome: Outcome) -> Summary:
    """What is worth telling of an outcome."""
    plan = outcome.plan
    return Summary(
        outcome=outcome.word,
        revision=str(plan.revision),
        digest=plan.digest,
        exit_code=exit_code_of(outcome),
        changes=tuple(
            Step(str(r.id), r.action.value, r.state.value, r.service, r.reason, r.code, r.hint, r.seconds)
            for r in outcome.results
        ),
        refusals=tuple(Stop(str(r.id or ""), r.code, r.message, r.advice) for r in outcome.refusals),
        blocked=tuple(Stop(str(b.id), "blocked", b.reason) for b in plan.blocked),
        kept=tuple(Stop(str(k.id), k.code, k.reason) for k in plan.kept),
        unhealthy=dict(outcome.unhealthy),
        unseen=dict(plan.unseen),
        cancelled=outcome.cancelled,
        timed_out=outcome.timed_out,
    )


def exit_code_of(outcome: Outcome) -> int:
    """The exit code that an outcome means: the first of these that is true.

    14 superseded, 130 otherwise cancelled, 15 out of time, then the worst failure (14 conflict, 16 tests failed or
    terminal, 12 else), 16 unhealthy, 13 refused, 15 an earlier operation goes on, 12 a target was not (wholly) seen, 0.
    """
    if outcome.cancelled:
        return 14 if outcome.cancelled.startswith("superseded") else 130
    if outcome.timed_out:
        return 15
    codes = {r.code for r in outcome.failed if r.state is State.FAILED}
    if codes:
        for code, exit_code in (("internal", 1), ("timed-out", 15), ("conflict", 14), ("foreign", 13)):
            if code in codes:
                return exit_code
        return 16 if codes & {"tests-failed", "terminal", "not-ready", "unhealthy"} else 12
    if outcome.unhealthy:
        return 16
    if outcome.refusals:
        return 13
    if outcome.plan.busy:
        return 15
    if any(state.value != "complete" for state in outcome.plan.targets.values()):
        return 12
    return 0
