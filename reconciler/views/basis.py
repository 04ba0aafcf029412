"""What a plan was made against, if not the targets as they are now: how old it is, and what it could not compare."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from reconciler.core.basis import Basis, NotCompared
from reconciler.views.values import age, plural, printable

# A daemon looks at every target at least once a minute (daemon.fullLookSeconds).
OLD_SECONDS = 900.0
_SHOWN = 3


def sentence(basis: Basis) -> str:
    """One line: what it was, and how old."""
    revision = printable(basis.revision)
    if basis.kind == "commit":
        return f"Compared with {revision}, as if nothing had moved since" if revision else "Compared with nothing"
    at = f" at {revision}" if revision else ""
    when = moment(basis.observed_at)
    return f"Compared with what {printable(basis.installation)} saw {age(basis.age)} ago ({when}){at}"


def warnings(basis: Basis) -> list[str]:
    """What the reader has to know of it: that it is old, and which values it says nothing of."""
    found: list[str] = []
    if basis.kind == "snapshot" and basis.age > OLD_SECONDS:
        found.append(f"The snapshot is {age(basis.age)} old: what happened since does not show")
    ordered = sorted(basis.not_compared, key=lambda one: (one.reference, one.id, one.pointer))
    for reference, group in groupby(ordered, key=lambda one: one.reference):
        found.append(_not_compared(reference, list(group)))
    return found


def _not_compared(reference: str, places: Sequence[NotCompared]) -> str:
    listed = ", ".join(f"{printable(p.id)} {printable(p.pointer)}" for p in places[:_SHOWN])
    more = f" and {plural(len(places) - _SHOWN, 'other')}" if len(places) > _SHOWN else ""
    what = f"the value of {printable(reference)}" if reference else "what stood there before Git named it"
    return f"Not compared: {what}, for {listed}{more}"


def as_json(basis: Basis) -> dict[str, Any]:
    """As plain values."""
    if basis.kind == "commit":
        return {"kind": "commit", "revision": basis.revision}
    return {
        "kind": basis.kind,
        "revision": basis.revision,
        "installation": basis.installation,
        "observedAt": moment(basis.observed_at),
        "ageSeconds": round(basis.age),
        "old": basis.age > OLD_SECONDS,
        "notCompared": [
            {"resource": one.id, "pointer": one.pointer, "reference": one.reference} for one in basis.not_compared
        ],
    }


def moment(at: float) -> str:
    """A time as ISO 8601, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
