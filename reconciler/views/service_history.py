"""The history of one service, also under the names it had before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from reconciler.core.dataclass import dataclass
from reconciler.views.history import Attempt


@dataclass(frozen=True, slots=True)
class Part:
    """What an attempt did for one service."""

    at: float
    revision: str
    outcome: str
    data: Mapping[str, Any]


def of_service(attempts: Iterable[Attempt], service: str) -> Iterator[Part]:
    """What concerns a service; where it was moved, what concerned it under its former name before.

    Args:
        attempts: Newest first.
    """
    name = service
    for attempt in attempts:
        data = attempt.data
        if "changes" not in data:
            if data.get("service") == name:
                yield Part(attempt.at, attempt.revision, attempt.outcome, data)
            continue
        changes = cast("Sequence[Mapping[str, Any]]", data["changes"])
        own = [change for change in changes if change.get("service") == name]
        before = next((str(change["before"]) for change in own if change.get("before")), "")
        # The old name's last change belongs to the move; what was done under it earlier is the service's past.
        own += [change for change in changes if before and change.get("service") == before]
        if own:
            yield Part(attempt.at, attempt.revision, attempt.outcome, {**data, "changes": own})
        done = any(change.get("before") and change.get("state") == "done" for change in own)
        name = before if done else name
