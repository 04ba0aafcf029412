"""What a supervisor or the operating system said, as errors of the contract: the one place where they are mapped."""

from __future__ import annotations

import errno
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from reconciler.core.errors import (
    AccessError,
    BusyError,
    ConflictError,
    TargetError,
    TerminalError,
    UnavailableError,
)


class Refusal(Exception):
    """A supervisor's answer that is not yes."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer.get("message", "")))
        self.code = str(answer["error"])


@contextmanager
def mapped(resource: str) -> Generator[None]:
    """Turns refusals and OSErrors raised inside into the contract's errors.

    Raises:
        TargetError: The class that says how to go on.
    """
    try:
        yield
    except Refusal as refusal:
        raise _of(refusal, resource) from refusal
    except OSError as error:
        raise _of_system(error, resource) from error


def _of(refusal: Refusal, resource: str) -> TargetError:
    message = f"{resource}: {refusal}"
    match refusal.code:
        case "port":
            return TerminalError(message, hint="stop what holds it, or set another `port` in the service's deployment")
        case "conflict":
            return ConflictError(message)
        case "busy":
            return BusyError(message, retry_after=0.1)
        case "disk":
            return UnavailableError(message)
        case _:
            return TerminalError(message)


def _of_system(error: OSError, resource: str) -> TargetError:
    where = f" ({error.filename})" if isinstance(error.filename, str) else ""
    message = f"{resource}: {error.strerror or error}{where}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessError(message, hint="the state directory must belong to the user that runs this program")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnavailableError(message, hint="free some space; nothing was changed")
    return UnavailableError(message)
