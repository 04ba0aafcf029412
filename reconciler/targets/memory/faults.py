"""What can go wrong at the target in memory: statuses as a web service would give them, and worse."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from reconciler.core.dataclass import dataclass, replace


class WireError(Exception):
    """The target's own error, as its SDK would raise it.

    Args:
        status: As in HTTP; 0 for none.
        retry_after: Seconds the target asks for.
        code: Finer than the status (`busy`, `exists`, `stale`).
    """

    def __init__(self, status: int, message: str, *, retry_after: float | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.code = code


class Crashed(BaseException):
    """Stands for the death of the whole process; no handler for `Exception` catches it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Args:
        op: `list`, `get`, `write`, `delete`, `way` or `*`.
        error: A status as text (`429`), `timeout`, `broken`, `busy`, `crash` (raises `Crashed`) or `kill` (SIGKILL to
            the own process).
        when: `before` the target did it, or `after`.
        name: Only for the resource with this key (`kind/name`); empty for any.
        page: Only for this page of a listing, counted from 1; 0 for any.
        skip: How often it goes well first.
        times: How often it goes wrong; -1 for ever.
    """

    op: str
    error: str
    when: str = "before"
    name: str = ""
    page: int = 0
    skip: int = 0
    times: int = 1
    retry_after: float | None = None

    def concerns(self, op: str, when: str, name: str, page: int) -> bool:
        """Whether it speaks of this moment."""
        return (
            self.times != 0
            and self.op in (op, "*")
            and self.when == when
            and self.name in ("", name)
            and self.page in (0, page)
        )

    def passed(self) -> Fault:
        """The same after one moment that it speaks of."""
        if self.skip:
            return replace(self, skip=self.skip - 1)
        return replace(self, times=self.times - 1) if self.times > 0 else self

    def strike(self) -> None:
        """Raises what it stands for."""
        match self.error:
            case "timeout":
                raise TimeoutError("the read operation timed out")
            case "broken":
                raise ConnectionResetError("connection reset by peer")
            case "busy":
                raise WireError(409, "another operation is in progress", retry_after=self.retry_after, code="busy")
            case "crash":
                raise Crashed
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case status:
                raise WireError(int(status), f"the server answered {status}", retry_after=self.retry_after)

    def to_json(self) -> dict[str, Any]:
        """For the file of a world."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fault:
        """The inverse of `to_json`."""
        return cls(**data)
