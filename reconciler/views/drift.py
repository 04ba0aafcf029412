"""What changed outside of Git, as text: both values of each field, since when, by whom, and what is next."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from reconciler.core.drift_report import Advice, Aside, DriftReport, FieldReport, Next, ResourceDrift
from reconciler.views import plan_text
from reconciler.views.grouping import name_of
from reconciler.views.style import PLAIN, Style
from reconciler.views.values import age, plural, printable, shown, transition

# Resources shown field by field; what is over is counted, or else nobody reads any of it.
MOST = 20
_WIDEST_POINTER = 48
_POINTERS_COUNTED = 5
_DAY = 86_400


def text(report: DriftReport, now: float, style: Style = PLAIN, *, everything: bool = False) -> str:
    """The whole report; ends with its one line that says how much there is.

    Args:
        now: Unix seconds.
        everything: All resources, and differences that are nobody's drift.
    """
    return "\n".join(_lines(report, now, style, everything)) + "\n"


def _lines(report: DriftReport, now: float, style: Style, everything: bool) -> Iterator[str]:
    shown_ = report.resources if everything else report.resources[:MOST]
    if shown_:
        yield f"{style.paint('Drift', 'bold', 'yellow')}: changed outside of Git (as it was left → as it is)"
    for resource in shown_:
        yield from _resource(resource, now, style)
    if len(shown_) < len(report.resources):
        yield _counted(report.resources[len(shown_) :])
    if everything and report.aside:
        yield ""
        yield f"{style.paint('Left to others', 'bold')}: not compared, not written (expected → as it is)"
        yield from _aside(report.aside, style)
    yield from ([""] if shown_ or (everything and report.aside) else [])
    yield style.paint(summary(report, now), "bold")
    yield from _others(report, everything)
    yield from plan_text.unseen(report.plan, style)
    if report.sync.pending:
        yield "Apart from that, Git wants changes: `reconciler plan` shows them."


def summary(report: DriftReport, now: float) -> str:
    """`2 resources drifted, the oldest for 5m: 3 fields are taken back at the next reconcile, 1 is reported only.`"""
    if not report.resources:
        return "No drift: everything that could be seen is as it was left."
    lasting = f", the oldest for {age(now - report.since)}" if report.since is not None else ""
    steps = Counter(one.next for resource in report.resources for one in resource.fields)
    gone = sum(resource.gone for resource in report.resources)
    parts = [
        (steps[Next.HEAL], "field", "taken back at the next reconcile"),
        (steps[Next.GIT], "field", "given what Git wants"),
        (steps[Next.REPORT], "field", "reported only"),
        (steps[Next.HELD], "field", "held"),
        (gone, "resource", "gone"),
    ]
    told = [f"{plural(count, noun)} {'is' if count == 1 else 'are'} {what}" for count, noun, what in parts if count]
    return f"{plural(len(report.resources), 'resource')} drifted{lasting}: {', '.join(told)}."


def _resource(resource: ResourceDrift, now: float, style: Style) -> Iterator[str]:
    head = f"{style.paint('!', 'yellow')} {printable(resource.id.kind)}  {printable(name_of(resource.id))}"
    words = [resource.sync.value] if resource.sync.pending else []
    words += ["gone, made again at the next reconcile" if not resource.held else "gone"] if resource.gone else []
    words += [f"not now: {printable(resource.held)}"] if resource.held else []
    words += [printable(resource.note)] if resource.note else []
    if resource.gone:
        words += [_how_long(resource.since, resource.times, now)]
    yield f"  {head}  {'; '.join(word for word in words if word)}".rstrip()
    width = min(_WIDEST_POINTER, max((len(one.field.pointer) for one in resource.fields), default=0))
    for one in resource.fields:
        changed = transition(one.field.left, one.field.now)
        yield f"      {printable(one.field.pointer):<{width}}  {changed}  {style.paint(_next(one), 'yellow')}".rstrip()
        about = [_how_long(one.since, one.times, now), by(one, now)]
        told = "; ".join(part for part in about if part)
        yield from [f"      {'':<{width}}  {style.paint(told, 'dim')}"] if told else []
    if resource.fight:
        yield from (f"      {line}" for line in fight(resource))


def _next(one: FieldReport) -> str:
    whose = f" ({printable(one.origin)})" if one.origin else ""
    match one.next:
        case Next.HEAL:
            return "taken back at the next reconcile"
        case Next.GIT:
            return f"conflict: Git wants {shown(one.field.wanted)}, which the next reconcile writes"
        case Next.REPORT:
            return f"reported only{whose}"
        case Next.HELD:
            return ""


def _how_long(since: float | None, times: int, now: float) -> str:
    told = [f"for {age(now - since)}"] if since is not None else []
    return ", ".join([*told, *([f"{ordinal(times)} time"] if times > 1 else [])])


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def by(one: FieldReport, now: float) -> str:
    """Who wrote the field last, and how long ago, where the target knows."""
    if one.owner is None:
        return ""
    at = one.owner.at
    when = "" if at is None else f" {age(now - at)} ago"
    if at is not None and now - at > _DAY:
        when = time.strftime(" on %Y-%m-%d %H:%M UTC", time.gmtime(at))
    return f"by {printable(one.owner.manager)}{when}"


def fight(resource: ResourceDrift) -> Iterator[str]:
    """What to say of a drift that comes back again and again, with the lines that end it."""
    advice = resource.advice
    if advice is None:
        yield f"It was gone {resource.times} times and made again: something deletes or ends it again and again."
        return
    fought = [one for one in resource.fields if one.fight]
    which = ", ".join(printable(one.field.pointer) for one in fought)
    times = max(one.times for one in fought)
    yield f"A fight: {which} came back {times} times after it was taken back, so somebody else writes it too."
    yield f"To leave it to them, {printable(advice.file)} says:"
    yield from (f"  {line}" for line in yaml(advice))


def yaml(advice: Advice) -> list[str]:
    """The lines that a service's file then has; JSON strings are YAML, whatever stands in them, escapes too."""
    head = ["spec:", "  policy:", "    drift:", "      ignore:"]
    return [*head, *(f"        - {printable(json.dumps(pattern, ensure_ascii=False))}" for pattern in advice.ignore)]


def _counted(resources: Sequence[ResourceDrift]) -> str:
    pointers = Counter(one.field.pointer for resource in resources for one in resource.fields)
    gone = sum(resource.gone for resource in resources)
    most = [f"{printable(pointer)} {count:,}" for pointer, count in pointers.most_common(_POINTERS_COUNTED)]
    most += [f"{len(pointers) - len(most)} other fields"] if len(pointers) > len(most) else []
    most += [f"gone {gone:,}"] if gone else []
    return f"  … and {plural(len(resources), 'resource')} more: {', '.join(most)} (`--all` shows them)"


def _aside(aside: Sequence[Aside], style: Style) -> Iterator[str]:
    last = None
    for one in aside:
        if one.id != last:
            yield f"  {style.paint('·', 'dim')} {printable(one.id.kind)}  {printable(name_of(one.id))}"
            last = one.id
        whose = f"{one.policy.value}{f' ({printable(one.origin)})' if one.origin else ''}" if one.policy else "not ours"
        yield f"      {printable(one.pointer)}  {transition(one.expected, one.now)}  {style.paint(whose, 'dim')}"


def _others(report: DriftReport, everything: bool) -> Iterator[str]:
    """One line for differences that are nobody's drift."""
    left = sum(one.policy is not None for one in report.aside)
    foreign = len(report.aside) - left
    parts = [f"{plural(left, 'difference')} left to others by policy"] if left else []
    parts += [f"{plural(foreign, 'difference')} in fields that are not ours"] if foreign else []
    if parts:
        yield f"Apart from that: {', '.join(parts)}{'' if everything else ' (`--all` shows them)'}."
    if report.uncompared:
        many = plural(len(report.uncompared), "resource")
        yield f"Not compared: {many} that Git does not name; `reconciler plan` says why they are kept."
