"""Approvals that stand: of what, by whom, since when, and what is left to do under them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from reconciler.core.approval import DAY_SECONDS, Approval
from reconciler.views.style import PLAIN, Style
from reconciler.views.table import Cell, table
from reconciler.views.values import plural, printable

HEAD = ("DIGEST", "BY", "WHEN (UTC)", "LAPSES (UTC)", "LEFT TO DO")


def text(approvals: Sequence[Approval], days: float, style: Style = PLAIN) -> str:
    """One line an approval.

    Args:
        days: For how long one stands.
    """
    if not approvals:
        return "Nothing is approved that is not done.\n"
    return "\n".join(table(HEAD, [_row(approval, days) for approval in approvals], style)) + "\n"


def _row(approval: Approval, days: float) -> list[Cell]:
    left = "all of it" if approval.work is None else plural(len(approval.work), "change")
    return [
        Cell(printable(approval.digest), ("bold",)),
        Cell(printable(approval.by)),
        Cell(_at(approval.at)),
        Cell(_at(approval.at + days * DAY_SECONDS)),
        Cell(left),
    ]


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def as_json(approvals: Sequence[Approval], days: float) -> dict[str, Any]:
    """All that is kept of each; `left` is null for one that was not used yet."""
    return {
        "kind": "Approvals",
        "formatVersion": 1,
        "approvals": [
            {
                "digest": approval.digest,
                "by": approval.by,
                "at": approval.at,
                "lapsesAt": approval.at + days * DAY_SECONDS,
                "left": None if approval.work is None else sorted(str(id_) for id_ in approval.work),
            }
            for approval in approvals
        ],
    }
