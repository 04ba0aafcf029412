"""How a run ended: its exit code, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.cli import exits
from reconciler.core import errors
from reconciler.core.resources import Completeness
from reconciler.engine.lifecycle import State
from reconciler.engine.progress import Result
from reconciler.engine.reconcile import Outcome
from reconciler.views.grouping import name_of
from reconciler.views.style import PLAIN, Style
from reconciler.views.values import paragraph, plural, printable

# Codes that the engine gives to failed changes beyond those of the exception classes.
_OTHER = {"tests-failed": exits.UNHEALTHY, "deadline": exits.TIMED_OUT}


def _classes(kind: type[errors.ReconcilerError] = errors.ReconcilerError) -> Iterator[type[errors.ReconcilerError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _classes(inner)


_CODES = {**{kind.code: kind.exit_code for kind in _classes()}, **_OTHER}


def code(outcome: Outcome) -> int:
    """The exit code: what stopped the whole run first, then the worst of its parts."""
    if outcome.cancelled:
        return exits.INTERRUPTED
    if outcome.refusals:
        return exits.REFUSED
    failed = [_CODES.get(result.code, exits.INTERNAL) for result in outcome.results if result.state is State.FAILED]
    if failed:
        return max(failed)
    if outcome.timed_out:
        return exits.TIMED_OUT
    if outcome.unhealthy:
        return exits.UNHEALTHY
    if any(state is not Completeness.COMPLETE for state in outcome.plan.targets.values()):
        return exits.TARGET
    return exits.DONE


def text(outcome: Outcome, style: Style = PLAIN) -> Iterator[str]:
    """What did not go well, each with its reason, and one line that sums up."""
    for result in outcome.results:
        if result.state is not State.DONE:
            yield from _result(result, style)
    for service, reason in sorted(outcome.unhealthy.items()):
        first, *rest = paragraph(reason)
        yield f"{style.paint('unhealthy:', 'red', 'bold')} {printable(service)}: {first}"
        yield from (f"  {line}" for line in rest)
    for refusal in outcome.refusals:
        yield f"{style.paint('refused:', 'red', 'bold')} {printable(refusal.message)} [{refusal.code}]"
        yield f"  {printable(refusal.hint.replace('DIGEST', outcome.plan.digest))}"
    for blocked in outcome.plan.blocked:
        yield f"{style.paint('not done:', 'yellow')} {printable(str(blocked.id))}: {paragraph(blocked.reason)[0]}"
    yield style.paint(sentence(outcome), "bold")


def _result(result: Result, style: Style) -> Iterator[str]:
    first, *rest = paragraph(result.reason) if result.reason else [result.state.value]
    word = style.paint(f"{result.state.value}:", "red" if result.state is State.FAILED else "yellow", "bold")
    code_shown = f" [{result.code}]" if result.code else ""
    yield f"{word} {result.action.value} {printable(name_of(result.id))}: {first}{code_shown}"
    yield from (f"  {line}" for line in rest)
    if result.hint:
        yield f"  {printable(result.hint)}"


def sentence(outcome: Outcome) -> str:
    """`Applied main@9c41f02: 2 changes done, 1 failed.`"""
    counts = [(state, sum(r.state is state for r in outcome.results)) for state in State]
    parts = [f"{plural(n, 'change') if state is State.DONE else n} {state.value}" for state, n in counts if n]
    revision = printable(outcome.plan.revision.short)
    if outcome.cancelled:
        done = f"{', '.join(parts)}. " if parts else ""
        return f"Stopped ({printable(outcome.cancelled)}): {done}What was begun is recorded; apply again to go on."
    if outcome.timed_out:
        return f"Not done in the time given: {', '.join(parts) or 'nothing begun'}. Apply again to go on."
    if not parts:
        nothing = "nothing done" if outcome.refusals or outcome.plan.blocked else "nothing to do"
        return f"{revision}: {nothing}."
    return f"Applied {revision}: {', '.join(parts)}."


def as_json(outcome: Outcome, exit_code: int) -> dict[str, Any]:
    """The outcome as plain values."""
    from reconciler.views import plan_json, status

    return {
        "kind": "Outcome",
        "formatVersion": 1,
        "outcome": outcome.word,
        "exitCode": exit_code,
        "revision": plan_json.revision(outcome.plan.revision),
        "digest": outcome.plan.digest,
        "timedOut": outcome.timed_out,
        "cancelled": outcome.cancelled,
        "results": [result_json(result) for result in outcome.results],
        "unhealthy": dict(outcome.unhealthy),
        "refusals": [{"code": r.code, "message": r.message, "hint": r.hint} for r in outcome.refusals],
        "blocked": [{**plan_json.resource(b.id), "reason": b.reason} for b in outcome.plan.blocked],
        "status": status.as_json(outcome.report),
    }


def result_json(result: Result) -> dict[str, Any]:
    """How one change ended."""
    return {
        "resource": str(result.id),
        "action": result.action.value,
        "service": result.service,
        "state": result.state.value,
        "reason": result.reason,
        "code": result.code,
        "hint": result.hint,
        "steps": [step.value for step in result.steps],
        "seconds": round(result.seconds, 3),
    }
