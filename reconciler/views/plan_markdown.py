"""A plan as Markdown for a pull-request comment; what does not fit is counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reconciler.core.change import Plan
from reconciler.views import plan_text
from reconciler.views import problems as problem_view
from reconciler.views.grouping import effect, groups, name_of, summary_line
from reconciler.views.values import plural, printable

# GitHub takes 65,536 characters in a comment (docs: "Working with the REST API", issue comments).
LONGEST = 65_000
MARKER = "<!-- reconciler-plan -->"
_RESERVE = 600
_BACKTICKS = re.compile(r"`+")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&-])")


def render(plan: Plan, limit: int = LONGEST) -> str:
    """The plan in at most `limit` characters; the hidden marker lets a later comment replace this one."""
    head = [
        MARKER,
        f"### {escape(summary_line(plan))}",
        "",
        f"`{_code(plan.revision.short)}`{_environment(plan)} {_subject(plan)}".rstrip(),
    ]
    if not plan.empty:
        head.append(f"Digest `{plan.digest}`")
    out = "\n".join(head) + "\n"
    omitted: list[str] = []
    for title, blocks in _sections(plan):
        written = f"\n#### {title}\n"
        left = limit - _RESERVE - len(out) - len(written)
        taken = 0
        for block in blocks:
            if len(block) + 1 > left:
                break
            written += f"{block}\n"
            left -= len(block) + 1
            taken += 1
        if taken:
            out += written
        if taken < len(blocks):
            omitted.append(f"{len(blocks) - taken:,} of {len(blocks):,} under “{title}”")
    if omitted:
        out += f"\n> Too long to show whole. Left out: {'; '.join(omitted)}. See `reconciler plan` for all of it.\n"
    return out


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no links, no mentions, no HTML."""
    return _SPECIAL.sub(r"\\\1", printable(text)).replace("\\@", "&#64;")


def _environment(plan: Plan) -> str:
    return f" in `{_code(plan.environment)}`" if plan.environment else ""


def _subject(plan: Plan) -> str:
    return escape(plan.revision.subject)[:300]


def _code(text: str) -> str:
    return printable(text).replace("`", "'").replace("|", "\\|")


def fenced(lines: Sequence[str], language: str = "") -> str:
    """A code block whose fence is longer than any run of backticks in it."""
    body = "\n".join(lines)
    longest = max((len(run) for run in _BACKTICKS.findall(body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def _sections(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    if plan.refusals:
        yield "Refused", [_refusal(plan, index) for index in range(len(plan.refusals))]
    if plan.problems:
        yield "Problems", [fenced(problem_view.text([problem])) for problem in plan.problems]
    if not plan.empty:
        yield "Changes", [_row_head(), *_rows(plan)]
        details = [block for block in _details(plan) if block]
        if details:
            yield "Fields", details
    if plan.drift:
        yield "Drift", [fenced(list(plan_text.drift_lines([item]))) for item in plan.drift]
    if plan.blocked:
        yield "Blocked", [f"- `{_code(str(b.id))}` {escape(b.reason)}" for b in plan.blocked]
    unseen = list(plan_text.unseen(plan))
    if unseen:
        yield "Not seen whole", [fenced(unseen)]
    if plan.kept:
        yield "Kept", [f"- `{_code(str(k.id))}` {escape(k.reason)}" for k in plan.kept]
    if plan.warnings:
        yield "Warnings", list(_warnings(plan))


def _warnings(plan: Plan) -> Iterator[str]:
    for problem, left_out in problem_view.alike(plan.warnings):
        lines = problem_view.text([problem])
        yield fenced([*lines, *([f"    … and {left_out:,} more like it [{problem.code}]"] if left_out else [])])


def _refusal(plan: Plan, index: int) -> str:
    refusal = plan.refusals[index]
    lines = [f"- **{escape(refusal.code)}** {escape(refusal.message)}"]
    lines += [escape(refusal.hint)] if refusal.hint else []
    lines += [f"{escape(way.text)}: `{_code(way.command or way.edit)}`" for way in refusal.ways]
    return "<br>".join(lines)


def _row_head() -> str:
    return "\n| | service | resource | effect | why |\n|---|---|---|---|---|"


def _rows(plan: Plan) -> Iterator[str]:
    for group in groups(plan):
        for change in group.changes:
            summary = change.desired.summary if change.desired else ""
            cells = (
                f"`{change.action.glyph}`",
                escape(group.title),
                f"{escape(change.id.kind)} `{_code(name_of(change.id))}`",
                escape(", ".join(part for part in (summary, effect(change)) if part)),
                escape(change.reason),
            )
            yield f"| {' | '.join(cells)} |"


def _details(plan: Plan) -> Iterator[str]:
    for group in groups(plan):
        for change in group.changes:
            lines = list(plan_text.field_lines(change.fields))
            if lines:
                name = _html(f"{change.id.kind} {name_of(change.id)}")
                body = fenced([line.strip() for line in lines])
                count = plural(len(lines), "field")
                yield f"<details><summary>{name}: {count}</summary>\n\n{body}\n\n</details>"


def _html(text: str) -> str:
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
