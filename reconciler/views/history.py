"""What was applied, when, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from reconciler.views.status import short_revision
from reconciler.views.style import PLAIN, Style
from reconciler.views.table import Cell, table
from reconciler.views.values import printable

HEAD = ("WHEN (UTC)", "REVISION", "OUTCOME", "TOOK", "BY", "CHANGES")
_STYLES = {
    "applied": "green",
    "failed": "red",
    "partly": "yellow",
    "refused": "red",
    "drift": "yellow",
    "recovered": "green",
    "waiting": "yellow",
    "approved": "green",
}
_MOST_CHANGES = 6


class Attempt(Protocol):
    """An entry of the history, as the store gives it."""

    @property
    def at(self) -> float:
        """Unix time in seconds."""
        ...

    @property
    def revision(self) -> str:
        """The commit."""
        ...

    @property
    def outcome(self) -> str:
        """A word."""
        ...

    @property
    def data(self) -> Mapping[str, Any]:
        """What else is known."""
        ...


def text(attempts: Sequence[Attempt], style: Style = PLAIN) -> str:
    """One line an attempt, newest first."""
    if not attempts:
        return "Nothing has been applied yet.\n"
    return "\n".join(table(HEAD, [_row(attempt) for attempt in attempts], style)) + "\n"


def _row(attempt: Attempt) -> list[Cell]:
    data = attempt.data
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(attempt.at))
    where = data.get("environment")
    took = f"{float(data['seconds']):.1f} s" if "seconds" in data else ""
    return [
        Cell(when),
        Cell(printable(short_revision(attempt.revision) + (f" in {where}" if where else ""))),
        Cell(printable(attempt.outcome), (_STYLES.get(attempt.outcome, "dim"),)),
        Cell(took),
        Cell(printable(str(data.get("by") or ""))),
        Cell(printable(_what(data))),
    ]


def _what(data: Mapping[str, Any]) -> str:
    if "text" in data:
        return _first_line(f"{data.get('target', '')}: {data['text']}")
    if "changes" not in data and "digest" in data and "fields" not in data:
        told = [_first_line(str(each)) for each in cast("Sequence[Any]", data.get("refusals") or ())]
        return ", ".join([f"plan {str(data['digest'])[:12]}", *told])
    if "changes" not in data:
        return _drift(data)
    changes = cast("Sequence[Mapping[str, Any]]", data["changes"])
    shown = [_change(change) for change in changes[:_MOST_CHANGES]]
    if len(changes) > _MOST_CHANGES:
        shown.append(f"and {len(changes) - _MOST_CHANGES} more")
    lifted = cast("Sequence[Mapping[str, Any]]", data.get("lifted") or ())
    given = dict.fromkeys(f"{each.get('code')} let through by {each.get('by')}" for each in lifted)
    return "; ".join([", ".join(shown), *given])


def _drift(data: Mapping[str, Any]) -> str:
    """What drifted and whether that is reported only; or what drifts no more."""
    fields = cast("Sequence[str]", data.get("fields") or ())
    policies: Mapping[str, str] = data.get("policies") or {}
    named = [f"{one} (reported only)" if policies.get(one) == "report" else one for one in fields]
    told = f"{data.get('id', '')} {'gone' if data.get('gone') else ', '.join(named)}".strip()
    if data.get("turn") == "fight":
        return f"{told}: comes back again and again, {data.get('times')} times so far"
    if data.get("turn") == "ended":
        return f"{told} {'taken back' if data.get('healed') else 'drifts no more'}"
    return told


def _change(change: Mapping[str, Any]) -> str:
    what = f"{change.get('action')} {change.get('id')}"
    state = change.get("state")
    if state == "done" or not change.get("reason"):
        return what
    return f"{what} ({state}: {_first_line(str(change['reason']))})"


def _first_line(text: str) -> str:
    first, *rest = text.strip().splitlines() or [""]
    return f"{first} …" if rest else first


def as_json(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """All that is kept of each attempt."""
    return {
        "kind": "History",
        "formatVersion": 1,
        "attempts": [{"at": a.at, "revision": a.revision, "outcome": a.outcome, **dict(a.data)} for a in attempts],
    }
