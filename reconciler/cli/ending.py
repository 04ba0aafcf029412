"""How a run ended, in words; whether this command did the work or a daemon did."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.resources import ResourceId
from reconciler.engine.lifecycle import State
from reconciler.engine.summary import Step, Stop, Summary
from reconciler.views.grouping import told
from reconciler.views.status import short_revision
from reconciler.views.style import PLAIN, Style
from reconciler.views.values import paragraph, plural, printable


def text(summary: Summary, style: Style = PLAIN, *, deleting: bool = False) -> Iterator[str]:
    """What did not go well, each with its reason and the way on, and one line that sums up.

    Args:
        deleting: It was a deletion on command; what was kept is said, too.
    """
    for step in summary.changes:
        if step.state != State.DONE.value:
            yield from _step(step, style)
    for service, reason in sorted(summary.unhealthy.items()):
        yield from _entry("unhealthy:", "red", f"{service}: {reason}", "", style)
    for refusal in summary.refusals:
        waits = refusal.code == "approval-required"
        yield from _stop(
            "waiting:" if waits else "refused:", "yellow" if waits else "red", refusal, refusal.hint, style
        )
    for blocked in summary.blocked:
        yield from _stop("not done:", "yellow", blocked, blocked.hint, style)
    for target, why in sorted(summary.unseen.items()):
        yield from _entry("not seen:", "yellow", f"target {target} was not wholly seen: {why}", "", style)
    for stop in summary.kept if deleting else ():
        yield from _stop("kept:", "yellow", stop, stop.hint, style)
    yield style.paint(sentence(summary, deleting=deleting), "bold")


def _step(step: Step, style: Style) -> Iterator[str]:
    what = f"{step.action} {told(ResourceId.parse(step.id))}: {step.reason or step.state}"
    failed = step.state == State.FAILED.value
    yield from _entry(f"{step.state}:", "red" if failed else "yellow", what, step.hint, style, step.code)


def _stop(word: str, color: str, stop: Stop, hint: str, style: Style) -> Iterator[str]:
    about = stop.message if not stop.id or stop.id in stop.message else f"{stop.id}: {stop.message}"
    yield from _entry(word, color, about, hint, style, "" if stop.code == "blocked" else stop.code)


def _entry(word: str, color: str, what: str, hint: str, style: Style, code: str = "") -> Iterator[str]:
    first, *rest = paragraph(what)
    yield f"{style.paint(word, color, 'bold')} {first}{f' [{printable(code)}]' if code else ''}"
    yield from (f"  {line}" for line in [*rest, *(paragraph(hint) if hint else [])])


def sentence(summary: Summary, *, deleting: bool = False) -> str:
    """`Applied main@9c41f02: 2 changes done, 1 failed.`"""
    states = [step.state for step in summary.changes]
    parts = [
        f"{plural(n, 'change') if state is State.DONE else n} {state.value}"
        for state in State
        if (n := states.count(state.value))
    ]
    done = ", ".join(parts)
    revision = printable(short_revision(summary.revision))
    if summary.cancelled:
        told = f"{done}. " if done else ""
        return f"Stopped ({printable(summary.cancelled)}): {told}What was begun is recorded; apply again to go on."
    if summary.timed_out:
        return f"Not done in the time given: {done or 'nothing begun'}. Apply again to go on."
    if not done:
        stopped = summary.refusals or summary.blocked
        nothing = "nothing done" if stopped else "nothing to do"
        return f"{nothing.capitalize()}." if deleting else f"{revision}: {nothing}."
    return f"{'Destroyed' if deleting else f'Applied {revision}'}: {done}."
