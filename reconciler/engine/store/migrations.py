"""From the schema of one release to that of the next: what each step changes, and nothing about why.

A step sees the tables as the release before left them. Steps run one after the other in one transaction, so whoever
opens the database meets one schema or another, never something in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, text


def drift_by_fields(connection: Connection) -> None:
    """1 to 2: what is remembered of drift, field by field, with the times of its appearance."""
    rows = connection.execute(text("SELECT id, since, data FROM drift")).all()
    for row in rows:
        data = json.loads(row.data)
        pointers = [*data.get("fields", ()), *([""] if data.get("gone") else ())]
        spell = {"value": "", "times": [row.since], "count": int(data.get("count", 1)), "ended": None}
        made = {"service": "", "told": "drift", "spells": dict.fromkeys(pointers, spell)}
        connection.execute(
            text("UPDATE drift SET data = :data WHERE id = :id"), {"id": row.id, "data": json.dumps(made)}
        )


# By the version that a step starts from.
STEPS: Mapping[int, Callable[[Connection], None]] = {1: drift_by_fields}
