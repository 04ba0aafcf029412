"""A plan as text for a terminal or a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from reconciler.core.change import Action, Cause, Change, Drift, DriftedField, FieldChange, Plan, Refusal
from reconciler.core.resources import Completeness
from reconciler.views import basis as basis_view
from reconciler.views import problems as problem_view
from reconciler.views.folding import folded
from reconciler.views.grouping import Group, by_reason, duration, effect, groups, name_of, summary_line
from reconciler.views.style import OF_ACTION, PLAIN, Style
from reconciler.views.values import paragraph, plural, printable, shown, transition

_WIDEST_NAME = 40
_WIDEST_POINTER = 48
_MOST_KEPT = 20


def render(plan: Plan, style: Style = PLAIN) -> str:
    """The whole plan; ends with its summary and digest."""
    return "\n".join(_lines(plan, style)) + "\n"


def _lines(plan: Plan, style: Style) -> Iterator[str]:
    yield f"{style.paint('Plan for', 'bold')} {_revision(plan)}"
    if plan.basis is not None:
        yield basis_view.sentence(plan.basis)
    for group in groups(plan):
        yield ""
        yield style.paint(printable(group.title), "bold")
        yield from _group(group, style)
    yield from _drift(plan.drift, style)
    yield from _kept(plan, style)
    yield from _blocked(plan, style)
    yield from refused(plan, style)
    yield from _targets(plan, style)
    if plan.basis is not None and (told := basis_view.warnings(plan.basis)):
        yield ""
        yield from (style.paint(line, "yellow") for line in told)
    found = [*plan.problems, *plan.warnings]
    if found:
        yield ""
        yield from problem_view.text(found, style, brief=True)
    yield ""
    yield from estimate_lines(plan)
    yield style.paint(summary_line(plan), "bold")
    if not plan.empty:
        yield style.paint(f"Digest {plan.digest}", "dim")


def _revision(plan: Plan) -> str:
    subject = printable(plan.revision.subject)
    where = f" in {printable(plan.environment)}" if plan.environment else ""
    return f"{printable(plan.revision.short)}{where} {subject}".rstrip()


def _group(group: Group, style: Style) -> Iterator[str]:
    folds = folded(group.changes)
    kinds = max(len(fold.change.id.kind) for fold in folds)
    names = min(_WIDEST_NAME, max(len(name_of(fold.change.id)) for fold in folds))
    for fold in folds:
        change = fold.change
        summary = change.desired.summary if change.desired else ""
        tail = [part for part in (printable(summary), effect(change), printable(change.reason)) if part]
        head = f"{change.action.glyph} {printable(change.id.kind):<{kinds}}  {printable(name_of(change.id)):<{names}}"
        painted = style.paint(head, OF_ACTION[change.action])
        yield f"  {painted}  {'  '.join(tail)}".rstrip()
        yield from (style.paint(line, "dim") for line in fold.lines())
        yield from _fields(change, style)


def _fields(change: Change, style: Style) -> Iterator[str]:
    if change.action in (Action.CREATE, Action.DELETE, Action.FORGET):
        return
    yield from field_lines(change.fields, style)


def field_lines(fields: Sequence[FieldChange], style: Style = PLAIN) -> Iterator[str]:
    """One line a field, pointers aligned; a pointer can be pasted into a policy."""
    width = min(_WIDEST_POINTER, max((len(f.pointer) for f in fields), default=0))
    for field in fields:
        line = f"      {printable(field.pointer):<{width}}  {transition(field.before, field.after)}"
        yield f"{line}{style.paint(_cause(field), 'yellow')}"


def _cause(field: FieldChange) -> str:
    match field.cause:
        case Cause.DRIFT:
            return "  (drift)"
        case Cause.CONFLICT:
            return f"  (conflict: it was left as {shown(field.left)})"
        case Cause.PENDING:
            return ""


def drift_lines(
    drift: Sequence[Drift], style: Style = PLAIN, *, next_step: str = "healed by this plan"
) -> Iterator[str]:
    """One drifted resource after the other; a field as it was left and as it reads now, and what becomes of it.

    Args:
        next_step: What becomes of drift that is to be healed.
    """
    for item in drift:
        fates = [fate_of(field, next_step) for field in item.fields]
        common = "gone" if item.gone else fates[0] if len({*fates}) == 1 else ""
        note = f": {printable(item.note)}" if item.note else ""
        head = f"{style.paint('!', 'yellow')} {printable(item.id.kind)}  {printable(name_of(item.id))}"
        yield f"  {head}  {common}{note}".rstrip()
        width = min(_WIDEST_POINTER, max((len(f.pointer) for f in item.fields), default=0))
        for field, fate in zip(item.fields, fates, strict=True):
            own = "" if common else style.paint(f"  ({fate})", "yellow")
            yield f"      {printable(field.pointer):<{width}}  {transition(field.left, field.now)}{own}"


def fate_of(field: DriftedField, next_step: str) -> str:
    """What becomes of a drifted field."""
    if field.conflict:
        return f"conflict: Git wants {shown(field.wanted)}"
    return next_step if field.written else "reported only, as its policy says"


def _drift(drift: Sequence[Drift], style: Style) -> Iterator[str]:
    if drift:
        yield ""
        title = style.paint("Drift", "bold", "yellow")
        yield f"{title}: changed outside of Git (as it was left → as it is)"
        yield from drift_lines(drift, style)


def _kept(plan: Plan, style: Style) -> Iterator[str]:
    if plan.kept:
        yield ""
        yield f"{style.paint('Kept', 'bold')}: no longer named in Git, not deleted"
        for kept in plan.kept[:_MOST_KEPT]:
            yield f"  {printable(kept.id.kind)}  {printable(name_of(kept.id))}  {printable(kept.reason)}"
        rest = Counter(kept.code for kept in plan.kept[_MOST_KEPT:])
        for code, count in sorted(rest.items()):
            yield f"  … and {count:,} more [{printable(code)}]"


def _blocked(plan: Plan, style: Style) -> Iterator[str]:
    if plan.blocked:
        yield ""
        yield f"{style.paint('Blocked', 'bold')}: cannot be changed now"
        for reason, ids in by_reason(plan.blocked).items():
            first, *rest = paragraph(reason)
            names = [f"{printable(id_.kind)}  {printable(name_of(id_))}" for id_ in ids]
            yield f"  {names[0]}  {first}" if len(names) == 1 else f"  {plural(len(names), 'resource')}  {first}"
            for line in rest:
                yield f"      {line}"
            if len(names) > 1:
                yield from (f"      {name}" for name in names)


def refused(plan: Plan, style: Style = PLAIN) -> Iterator[str]:
    """What somebody has approved, what waits for that, and what is refused, each with its ways on."""
    approved = [refusal for refusal in plan.refusals if refusal.approved]
    if approved:
        yield ""
        yield f"{style.paint('Approved', 'bold', 'green')}: done with the next apply"
        for refusal in approved:
            by = printable(refusal.approved)
            yield f"  {style.paint('✓', 'green')} by {by}: {printable(refusal.message)} [{printable(refusal.code)}]"
    standing = [refusal for refusal in plan.refusals if not refusal.approved]
    yield from _standing("Waiting", "for somebody's approval", "yellow", [r for r in standing if r.waits], style)
    yield from _standing("Refused", "not done without your word", "red", [r for r in standing if not r.waits], style)


def _standing(title: str, what: str, color: str, refusals: Sequence[Refusal], style: Style) -> Iterator[str]:
    if refusals:
        yield ""
        yield f"{style.paint(title, 'bold', color)}: {what}"
    for refusal in refusals:
        yield f"  {style.paint('✗', color)} {printable(refusal.message)} [{printable(refusal.code)}]"
        yield from (f"      {line}" for line in paragraph(refusal.advice) if line)


def estimate_lines(plan: Plan) -> Iterator[str]:
    """How long it takes and why, where that is long."""
    if plan.estimate is None:
        return
    yield f"Takes {duration(plan.estimate.seconds)}:"
    for target, (seconds, why) in plan.estimate.targets.items():
        yield f"  target {printable(target)}  {duration(seconds)}, since {printable(why)}"


def unseen(plan: Plan, style: Style = PLAIN) -> Iterator[str]:
    """One line a target that was not seen whole."""
    words = {Completeness.PARTIAL: "only partly seen", Completeness.UNAVAILABLE: "not reachable"}
    for name, state in sorted(plan.targets.items()):
        if state in words:
            why = paragraph(plan.unseen.get(name, ""))[0]
            said = f"{words[state]}: {why}" if why else words[state]
            yield f"{style.paint('Target', 'bold', 'yellow')} {printable(name)} was {said}"


def _targets(plan: Plan, style: Style) -> Iterator[str]:
    lines = list(unseen(plan, style))
    if lines:
        yield ""
        yield from lines
        yield "  Nothing that was not seen is deleted or made anew."
    if plan.suspended:
        yield ""
        listed = ", ".join(printable(name) for name in plan.suspended)
        yield f"{plural(len(plan.suspended), 'service')} suspended: {listed}"
