"""Problems of input for people and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from reconciler.core.problems import Problem, Severity
from reconciler.views.style import PLAIN, Style
from reconciler.views.values import plural, printable

_SHOWN_ALIKE = 3


def text(problems: Sequence[Problem], style: Style = PLAIN, *, brief: bool = False) -> list[str]:
    """Two lines a problem at most: `file:line:column: error: message [code]`, and what to do, indented.

    Args:
        brief: Of many warnings with one code, show the first few and count the rest.
    """
    lines: list[str] = []
    for problem, left_out in alike(problems) if brief else [(p, 0) for p in in_order(problems)]:
        where = str(problem.position) if problem.position else problem.subject
        error = problem.severity is Severity.ERROR
        severity = style.paint(str(problem.severity), "red" if error else "yellow", "bold")
        head = f"{style.paint(printable(where), 'bold')}: " if where else ""
        code = style.paint(f"[{problem.code}]", "dim")
        lines.append(f"{head}{severity}: {printable(problem.message)} {code}")
        if problem.hint:
            lines.append(f"    {printable(problem.hint)}")
        if left_out:
            lines.append(f"    … and {left_out:,} more like it {code}")
    return lines


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By file, line and column."""
    return sorted(problems, key=lambda p: p.sort_key)


def alike(problems: Iterable[Problem]) -> list[tuple[Problem, int]]:
    """Problems in order, but only the first few warnings of each code, the last of which says how many are left out."""
    ordered = in_order(problems)
    total = Counter(p.code for p in ordered if p.severity is Severity.WARNING)
    seen: Counter[str] = Counter()
    kept: list[tuple[Problem, int]] = []
    for problem in ordered:
        if problem.severity is Severity.WARNING:
            seen[problem.code] += 1
            if seen[problem.code] > _SHOWN_ALIKE:
                continue
        last = problem.severity is Severity.WARNING and seen[problem.code] == _SHOWN_ALIKE
        kept.append((problem, total[problem.code] - _SHOWN_ALIKE if last else 0))
    return kept


def as_json(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Each problem as an object; `file`, `line` and `column` where it stands in a file."""
    return [_one(problem) for problem in in_order(problems)]


def _one(problem: Problem) -> dict[str, Any]:
    data: dict[str, Any] = {"severity": str(problem.severity), "code": problem.code, "message": problem.message}
    if problem.hint:
        data["hint"] = problem.hint
    if problem.subject:
        data["subject"] = problem.subject
    if problem.position:
        data["file"] = problem.position.file
        if problem.position.line:
            data["line"] = problem.position.line
        if problem.position.column:
            data["column"] = problem.position.column
    return data


def count_line(problems: Sequence[Problem]) -> str:
    """`2 errors, 1 warning`."""
    errors = sum(p.severity is Severity.ERROR for p in problems)
    warnings = len(problems) - errors
    parts = [plural(errors, "error")] if errors else []
    parts += [plural(warnings, "warning")] if warnings else []
    return ", ".join(parts) or "no problems"
