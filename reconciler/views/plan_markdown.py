"""A plan as Markdown for a pull-request comment: a table of changes, details folded; what does not fit is counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reconciler.core.change import Change, Plan, Refusal
from reconciler.core.dataclass import dataclass
from reconciler.views import basis as basis_view
from reconciler.views import plan_text
from reconciler.views import problems as problem_view
from reconciler.views.grouping import by_reason, duration, effect, groups, name_of, summary_line
from reconciler.views.values import paragraph, plural, printable

# GitHub takes 262,144 bytes of UTF-8 in a comment, and 65,536 characters where a pull request is described
# (dead-claudia/github-limits, pull request 13). So many UTF-16 units are fewer than either, whatever they spell.
LONGEST = 65_000
MARKER = "<!-- reconciler-plan -->"
REST = "`reconciler plan` and its `-o json` have all of it"
_MOST_FIELDS = 100
_OPEN = 10
_BACKTICKS = re.compile(r"`+")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&-])")


@dataclass(frozen=True, slots=True)
class _Section:
    """Part of the comment: blocks that are shown or left out one by one, between what opens and closes them."""

    title: str
    blocks: Sequence[str]
    lead: str = ""
    tail: str = ""

    @property
    def frame(self) -> str:
        """All but the blocks."""
        return f"\n#### {self.title}\n{self.lead}{self.tail}"

    def size(self) -> int:
        """Of the whole."""
        return units(self.frame) + sum(units(block) + 1 for block in self.blocks)

    def within(self, limit: int) -> tuple[str, int]:
        """As much of it as fits, and how many blocks that leaves out; a block that is too large never hides others."""
        room = limit - units(self.frame)
        shown: list[str] = []
        left_out = 0
        for block in self.blocks:
            needed = units(block) + 1
            if needed <= room:
                shown.append(block)
                room -= needed
            else:
                left_out += 1
                room = room if needed > limit else 0
        if not shown:
            return "", len(self.blocks)
        body = "".join(f"{block}\n" for block in shown)
        return f"\n#### {self.title}\n{self.lead}{body}{self.tail}", left_out


def render(plan: Plan, limit: int = LONGEST, *, rest: str = REST) -> str:
    """The plan as a comment; the hidden marker at its beginning lets a later one replace it.

    Args:
        limit: How long it may be, in UTF-16 units.
        rest: Where all of it is to be seen, in Markdown, for a comment that leaves something out.
    """
    head = "\n".join(_head(plan)) + "\n"
    sections = list(_sections(plan))
    sizes = [section.size() for section in sections]
    room = limit - units(head)
    if sum(sizes) <= room:
        return head + "".join(section.within(size)[0] for section, size in zip(sections, sizes, strict=True))
    foot = _foot([(section.title, len(section.blocks), len(section.blocks)) for section in sections], rest)
    out = head
    omitted: list[tuple[str, int, int]] = []
    for section, share in zip(sections, _shares(sizes, room - units(foot)), strict=True):
        text, left_out = section.within(share)
        out += text
        if left_out:
            omitted.append((section.title, left_out, len(section.blocks)))
    return out + _foot(omitted, rest)


def _foot(omitted: Sequence[tuple[str, int, int]], rest: str) -> str:
    listed = "; ".join(f"{count:,} of {total:,} under “{title}”" for title, count, total in omitted)
    return f"\n> Too long to show whole. Left out: {listed}. {rest}.\n"


def _shares(sizes: Sequence[int], room: int) -> list[int]:
    """What each section may take: the small ones all they need, the others an equal part of what is left."""
    shares = [0] * len(sizes)
    waiting = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for done, index in enumerate(waiting):
        shares[index] = min(sizes[index], max(0, room) // (len(waiting) - done))
        room -= shares[index]
    return shares


def units(text: str) -> int:
    """The length in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no links, no mentions, no HTML."""
    return _SPECIAL.sub(r"\\\1", printable(text)).replace("\\@", "&#64;")


def code(text: str) -> str:
    """Text to stand between back-ticks, also in a table."""
    return printable(text).replace("`", "'").replace("|", "\\|")


def fenced(lines: Sequence[str], language: str = "") -> str:
    """A code block whose fence is longer than any run of backticks in it."""
    body = "\n".join(lines)
    longest = max((len(run) for run in _BACKTICKS.findall(body)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def _head(plan: Plan) -> Iterator[str]:
    yield MARKER
    yield f"### {escape(summary_line(plan))}"
    yield ""
    where = f" in `{code(plan.environment)}`" if plan.environment else ""
    yield f"`{code(plan.revision.short)}`{where} {escape(plan.revision.subject[:200])}".rstrip()
    if plan.basis is not None:
        yield escape(basis_view.sentence(plan.basis))
        for warning in basis_view.warnings(plan.basis):
            yield ""
            yield f"> {escape(warning)}"
    if plan.estimate is not None:
        slow = ", ".join(
            f"{escape(target)} {duration(seconds)} ({escape(why)})"
            for target, (seconds, why) in list(plan.estimate.targets.items())[:_OPEN]
        )
        yield ""
        yield f"Takes {duration(plan.estimate.seconds)}: {slow}"
    if not plan.empty:
        yield ""
        yield f"Digest `{plan.digest}`"


def _sections(plan: Plan) -> Iterator[_Section]:
    standing = [refusal for refusal in plan.refusals if not refusal.approved]
    refused = [_refusal(refusal) for refusal in standing if not refusal.waits]
    if refused:
        yield _Section("Refused", refused)
    waiting = [_refusal(refusal) for refusal in standing if refusal.waits]
    if waiting:
        yield _Section("Waiting for approval", waiting)
    approved = [_approved(refusal) for refusal in plan.refusals if refusal.approved]
    if approved:
        yield _Section("Approved", approved)
    if plan.problems:
        yield _Section("Problems", [fenced(problem_view.text([problem])) for problem in plan.problems])
    unseen = list(plan_text.unseen(plan))
    if unseen:
        yield _Section("Targets", [f"- {escape(line)}" for line in unseen])
    if not plan.empty:
        lead = "\n| | service | resource | effect | why |\n|---|---|---|---|---|\n"
        yield _Section("Changes", list(_rows(plan)), lead)
        details = list(_details(plan))
        if details:
            yield _Section("Fields", details)
    if plan.drift:
        yield _Section("Drift", [fenced(list(plan_text.drift_lines([item]))) for item in plan.drift])
    if plan.blocked:
        yield _folded("Blocked", list(_blocked(plan)))
    if plan.kept:
        yield _folded("Kept", [f"- `{code(str(k.id))}` {escape(k.reason)}" for k in plan.kept])
    if plan.warnings:
        yield _folded("Warnings", list(_warnings(plan)))


def _folded(title: str, blocks: Sequence[str]) -> _Section:
    """A section that is folded where it is long."""
    if len(blocks) <= _OPEN:
        return _Section(title, blocks)
    return _Section(title, blocks, f"<details><summary>{len(blocks):,}</summary>\n\n", "\n</details>\n")


def _blocked(plan: Plan) -> Iterator[str]:
    for reason, ids in by_reason(plan.blocked).items():
        names = [f"`{code(str(id_))}`" for id_ in ids]
        if len(names) == 1:
            yield f"- {names[0]} {_broken(reason)}"
        else:
            yield f"- {plural(len(names), 'resource')}: {_broken(reason)}"
            yield from (f"  - {name}" for name in names)


def _warnings(plan: Plan) -> Iterator[str]:
    for problem, left_out in problem_view.alike(plan.warnings):
        lines = problem_view.text([problem])
        yield fenced([*lines, *([f"    … and {left_out:,} more like it [{problem.code}]"] if left_out else [])])


def _approved(refusal: Refusal) -> str:
    return f"- by {escape(refusal.approved)}: {escape(refusal.message)}"


def _refusal(refusal: Refusal) -> str:
    lines = [f"- **{escape(refusal.code)}** {escape(refusal.message)}"]
    lines += [escape(refusal.hint)] if refusal.hint else []
    lines += [f"{escape(way.text)}: `{code(way.command or way.edit)}`" for way in refusal.ways]
    return "<br>".join(lines)


def _broken(text: str) -> str:
    return "<br>".join(escape(line) for line in paragraph(text))


def _rows(plan: Plan) -> Iterator[str]:
    for group in groups(plan):
        for change in group.changes:
            summary = change.desired.summary if change.desired else ""
            cells = (
                f"`{change.action.glyph}`",
                escape(group.title),
                f"{escape(change.id.kind)} `{code(name_of(change.id))}`",
                escape(", ".join(part for part in (summary, effect(change)) if part)),
                escape(change.reason),
            )
            yield f"| {' | '.join(cells)} |"


def _details(plan: Plan) -> Iterator[str]:
    for group in groups(plan):
        for change in group.changes:
            if change.fields:
                yield _detail(change)


def _detail(change: Change) -> str:
    lines = [line.strip() for line in plan_text.field_lines(change.fields[:_MOST_FIELDS])]
    if len(change.fields) > _MOST_FIELDS:
        lines.append(f"… and {len(change.fields) - _MOST_FIELDS:,} more")
    name = _html(f"{change.id.kind} {name_of(change.id)}")
    count = plural(len(change.fields), "field")
    return f"<details><summary>{name}: {count}</summary>\n\n{fenced(lines)}\n\n</details>"


def _html(text: str) -> str:
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
