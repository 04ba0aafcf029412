"""What a forge is told of a commit: how applying it went in one environment."""

from __future__ import annotations

from enum import StrEnum

from reconciler.core.dataclass import dataclass

# GitHub takes no longer description (REST API, "Create a commit status"); the others take more.
LONGEST_DESCRIPTION = 140


class CommitState(StrEnum):
    """How far a commit got.

    pending: it is being applied. success: applied, and everything healthy. failure: it could not be, or not all of it.
    stopped: somebody interrupted it, or a newer commit took its place.
    """

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """A state, and one line about it."""

    state: CommitState
    description: str

    @property
    def line(self) -> str:
        """The description, cut to what every forge takes."""
        text = " ".join(self.description.split())
        return text if len(text) <= LONGEST_DESCRIPTION else f"{text[: LONGEST_DESCRIPTION - 1]}…"


_FOLLOWING = {
    None: frozenset(CommitState),
    CommitState.PENDING: frozenset({CommitState.SUCCESS, CommitState.FAILURE, CommitState.STOPPED}),
    CommitState.FAILURE: frozenset({CommitState.SUCCESS}),
    CommitState.STOPPED: frozenset({CommitState.SUCCESS, CommitState.FAILURE}),
    CommitState.SUCCESS: frozenset[CommitState](),
}


def worth_telling(before: CommitState | None, after: CommitState) -> bool:
    """Whether a commit's state has moved on: at most four posts a commit, whatever its services do later.

    A success stays one: that a service fails days afterwards is no property of the commit. A forge keeps every status
    that was ever posted (GitHub: a thousand for each commit and context), so what flaps must not be posted.
    """
    return after in _FOLLOWING[before]
