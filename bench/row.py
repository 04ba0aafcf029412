"""One line of the bench's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured, against what, what was wanted, what came out.

    Args:
        measured: The ratio or value with its spread, or `not run: …` with the reason.
        met: Whether the goal was reached; None if it was not run.
    """

    what: str
    against: str
    goal: str
    measured: str
    met: bool | None = None
    note: str = ""


def not_run(what: str, against: str, goal: str, why: str) -> Row:
    """A row that could not be measured here."""
    return Row(what, against, goal, f"not run: {why}")
