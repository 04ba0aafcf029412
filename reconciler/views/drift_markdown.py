"""A drift report as Markdown, for a ticket or a message; what does not fit is counted."""

from __future__ import annotations

import time
from collections.abc import Iterator

from reconciler.core.drift_report import DriftReport, FieldReport, Next, ResourceDrift
from reconciler.views import drift as view
from reconciler.views.grouping import name_of
from reconciler.views.plan_markdown import LONGEST, escape, fenced
from reconciler.views.values import plural, shown, transition

MARKER = "<!-- reconciler-drift -->"
_RESERVE = 400
_HEAD = ("resource", "field", "as it was left → as it is", "since", "what is next")
_STEPS = {
    Next.HEAL: "taken back at the next reconcile",
    Next.GIT: "conflict",
    Next.REPORT: "reported only",
    Next.HELD: "held",
}


def render(report: DriftReport, now: float, limit: int = LONGEST) -> str:
    """The report in at most `limit` characters; the hidden marker lets a later comment replace this one."""
    out = f"{MARKER}\n### {escape(view.summary(report, now))}\n\n{escape(report.plan.revision.short)}\n"
    if report.resources:
        out += f"\n| | {' | '.join(_HEAD)} |\n|{'---|' * (len(_HEAD) + 1)}\n"
    rows = [line for resource in report.resources for line in _rows(resource)]
    fights = [_fight(resource) for resource in report.resources if resource.fight]
    omitted = 0
    for block in [*rows, *fights]:
        if len(out) + len(block) + _RESERVE > limit:
            omitted += 1
        else:
            out += block
    if omitted:
        out += f"\n> Too long to show whole: {plural(omitted, 'entry', 'entries')} left out. See `reconciler drift`.\n"
    return out


def _rows(resource: ResourceDrift) -> Iterator[str]:
    name = f"{escape(resource.id.kind)} {escape(name_of(resource.id))}"
    if resource.gone:
        step = f"held: {escape(resource.held)}" if resource.held else "made again at the next reconcile"
        yield _row(name, "", "gone", _since(resource.since, resource.times), step)
    for one in resource.fields:
        changed = escape(transition(one.field.left, one.field.now))
        yield _row(name, escape(one.field.pointer), changed, _since(one.since, one.times), _next(one, resource.held))


def _row(*cells: str) -> str:
    return f"| `!` | {' | '.join(cell or ' ' for cell in cells)} |\n"


def _since(since: float | None, times: int) -> str:
    told = [time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(since))] if since is not None else []
    return escape(", ".join([*told, *([f"{view.ordinal(times)} time"] if times > 1 else [])]))


def _next(one: FieldReport, held: str) -> str:
    told = [_STEPS[one.next]]
    if one.field.conflict:
        told.append(f"Git wants {shown(one.field.wanted)}")
    if one.next is Next.HELD:
        told.append(held)
    if one.owner is not None:
        told.append(f"written by {one.owner.manager}")
    return escape("; ".join(told))


def _fight(resource: ResourceDrift) -> str:
    told = [*view.fight(resource)]
    head = [line for line in told if not line.startswith("  ")]
    code = [line.removeprefix("  ") for line in told if line.startswith("  ")]
    block = f"\n{fenced(code, 'yaml')}" if code else ""
    return f"\n**{escape(resource.id.kind)} {escape(name_of(resource.id))}** {escape(' '.join(head))}{block}\n"
