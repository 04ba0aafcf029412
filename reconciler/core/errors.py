"""The exception tree. A class says how to go on and which exit code the command ends with.

    ReconcilerError                     1   a fault of ours unless a subclass says otherwise
    |- UsageError                      10   the command was called wrongly
    |- InvalidError                    11   manifests, settings or files are wrong; carries every problem
    |- StateError                      11   the state directory cannot be written now
    |- RefusedError                    13   a safety rail or policy says no
    |- StaleError                      14   plan superseded, lease lost, state changed underneath
    |  `- PlanChangedError                  the plan of now is not the reviewed one; carries what differs
    |- TimedOutError                   15   not done in the time given
    |- UnhealthyError                  16   applied, but unhealthy or its tests failed
    `- TargetError                     12   what a target said; `retry` tells the engine how to go on
       |- UnavailableError                  down, unreachable, 5xx, time-out      -> back off
       |- ThrottledError                    429, with the time it asked for       -> back off that long
       |- BusyError                         something must end first (transition)  -> wait, then look again
       |- ConflictError                     stale version; nothing was written     -> look again, plan again
       |- ForeignError                      what stands there is not ours          -> stop
       |- AccessError                       401, 403: which permission is missing  -> stop, retry slowly
       `- TerminalError                     the spec is wrong for this target      -> stop until it changes

A driver maps its SDK's errors onto `TargetError`s in one place, with `raise … from exc`; nobody else names SDK errors.
Messages never hold secrets. Exit codes are those of docs/messages.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar

from reconciler.core.problems import Problem


class Retry(StrEnum):
    """How the engine goes on after a target said no."""

    BACKOFF = "backoff"
    WAIT = "wait"
    OBSERVE = "observe"
    STOP = "stop"


class ReconcilerError(Exception):
    """Anything this program reports to a person.

    Args:
        message: What was wrong and why it matters, without secrets.
        hint: What to do; a command to copy where there is one.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(ReconcilerError):
    """The command was called wrongly."""

    exit_code = 10
    code = "usage"


class InvalidError(ReconcilerError):
    """Manifests, settings or files that cannot be used; `problems` holds all that was found."""

    exit_code = 11
    code = "invalid"

    def __init__(self, message: str, *, problems: Iterable[Problem] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems: Sequence[Problem] = tuple(problems)


class StateError(ReconcilerError):
    """The state directory cannot be written now: a full disk, or permissions. What was recorded before stands."""

    exit_code = 11
    code = "state"


class RefusedError(ReconcilerError):
    """A safety rail or a policy refuses; the hint says what approves it."""

    exit_code = 13
    code = "refused"


class StaleError(ReconcilerError):
    """What was decided no longer fits what is: plan superseded, lease lost."""

    exit_code = 14
    code = "stale"


class PlanChangedError(StaleError):
    """The plan of now is another one than was reviewed.

    Args:
        differences: As data, one for each action.
    """

    def __init__(self, message: str, *, differences: Iterable[Mapping[str, Any]] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.differences: Sequence[Mapping[str, Any]] = tuple(differences)


class TimedOutError(ReconcilerError):
    """The work goes on or is resumable, but the time given for it is over."""

    exit_code = 15
    code = "timed-out"


class UnhealthyError(ReconcilerError):
    """Applied, but not healthy or its tests failed."""

    exit_code = 16
    code = "unhealthy"


class TargetError(ReconcilerError):
    """What a target answered instead of doing it.

    Args:
        retry_after: Seconds the target asked us to wait, if it did.
    """

    exit_code = 12
    code = "target"
    retry: ClassVar[Retry] = Retry.STOP

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class UnavailableError(TargetError):
    """The target cannot be reached or is failing; nothing is known about its resources."""

    code = "target-unavailable"
    retry = Retry.BACKOFF


class ThrottledError(TargetError):
    """The target asks for fewer requests."""

    code = "throttled"
    retry = Retry.BACKOFF


class BusyError(TargetError):
    """Something at the target must end first (a transition, a dependency that is still being made)."""

    code = "busy"
    retry = Retry.WAIT


class ConflictError(TargetError):
    """The resource changed since it was observed; nothing was written."""

    exit_code = 14
    code = "conflict"
    retry = Retry.OBSERVE


class ForeignError(TargetError):
    """A resource of that name exists and is not ours."""

    exit_code = 13
    code = "foreign"


class AccessError(TargetError):
    """Credentials missing, expired or not sufficient."""

    code = "access"


class TerminalError(TargetError):
    """Repeating the call cannot help: the spec must change (or the machine must)."""

    exit_code = 16
    code = "terminal"
