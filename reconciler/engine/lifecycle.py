"""The life of one change while it is carried out: every state, its deadline and its exits, in one table.

A test walks the table: every state that is not final has a deadline, leads somewhere on it, and reaches a final state.
"""

from __future__ import annotations

from enum import StrEnum

from reconciler.core.dataclass import dataclass


class State(StrEnum):
    """Where a change is."""

    WAITING = "waiting"
    CALLING = "calling"
    IN_PROGRESS = "in progress"
    TESTING = "testing"
    BACKING_OFF = "backing off"
    UNDOING = "undoing"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_ATTEMPTED = "not attempted"
    HANDED_OVER = "handed over"


FINAL = frozenset({State.DONE, State.FAILED, State.SKIPPED, State.NOT_ATTEMPTED, State.HANDED_OVER})


class Signal(StrEnum):
    """What moves a change on."""

    READY = "dependencies are there"
    DEPENDENCY_FAILED = "a dependency failed"
    NEXT_CALL = "the next step is a call"
    NEXT_TEST = "the next step is a test"
    ACCEPTED = "the target works on it"
    STEP_DONE = "no step is left"
    TRY_AGAIN = "a passing error"
    REFUSED = "an error that stays"
    STAGED_FAILED = "the new version failed, the old one stands"
    DEADLINE = "the deadline passed"
    CANCELLED = "the run was asked to stop"


@dataclass(frozen=True, slots=True)
class Row:
    """One state: what ends it by time, and where each signal leads."""

    deadline: str
    exits: dict[Signal, State]


TABLE: dict[State, Row] = {
    State.WAITING: Row(
        "the run's",
        {
            Signal.READY: State.CALLING,
            Signal.NEXT_TEST: State.TESTING,
            Signal.STEP_DONE: State.DONE,
            Signal.REFUSED: State.FAILED,
            Signal.DEPENDENCY_FAILED: State.SKIPPED,
            Signal.DEADLINE: State.NOT_ATTEMPTED,
            Signal.CANCELLED: State.NOT_ATTEMPTED,
        },
    ),
    State.CALLING: Row(
        "the driver's own, at most the target's deadline",
        {
            Signal.ACCEPTED: State.IN_PROGRESS,
            Signal.NEXT_CALL: State.CALLING,
            Signal.NEXT_TEST: State.TESTING,
            Signal.STEP_DONE: State.DONE,
            Signal.TRY_AGAIN: State.BACKING_OFF,
            Signal.REFUSED: State.FAILED,
            Signal.STAGED_FAILED: State.UNDOING,
            Signal.DEADLINE: State.FAILED,
            Signal.CANCELLED: State.HANDED_OVER,
        },
    ),
    State.IN_PROGRESS: Row(
        "the target's deadline",
        {
            Signal.ACCEPTED: State.IN_PROGRESS,
            Signal.NEXT_CALL: State.CALLING,
            Signal.NEXT_TEST: State.TESTING,
            Signal.STEP_DONE: State.DONE,
            Signal.TRY_AGAIN: State.BACKING_OFF,
            Signal.REFUSED: State.FAILED,
            Signal.STAGED_FAILED: State.UNDOING,
            Signal.DEADLINE: State.FAILED,
            Signal.CANCELLED: State.HANDED_OVER,
        },
    ),
    State.TESTING: Row(
        "each test's own time limit; while it cannot be asked, the target's deadline",
        {
            Signal.TRY_AGAIN: State.TESTING,
            Signal.NEXT_CALL: State.CALLING,
            Signal.STEP_DONE: State.DONE,
            Signal.REFUSED: State.FAILED,
            Signal.STAGED_FAILED: State.UNDOING,
            Signal.DEADLINE: State.FAILED,
            Signal.CANCELLED: State.HANDED_OVER,
        },
    ),
    State.BACKING_OFF: Row(
        "the target's deadline",
        {
            Signal.NEXT_CALL: State.CALLING,
            Signal.REFUSED: State.FAILED,
            Signal.DEADLINE: State.FAILED,
            Signal.CANCELLED: State.HANDED_OVER,
        },
    ),
    State.UNDOING: Row(
        "the target's deadline",
        {
            Signal.ACCEPTED: State.UNDOING,
            Signal.STEP_DONE: State.FAILED,
            Signal.REFUSED: State.FAILED,
            Signal.DEADLINE: State.FAILED,
            Signal.CANCELLED: State.HANDED_OVER,
        },
    ),
}


def follow(state: State, signal: Signal) -> State:
    """Where a signal leads from a state.

    Raises:
        KeyError: The table has no such exit, which is a fault of ours.
    """
    return TABLE[state].exits[signal]
