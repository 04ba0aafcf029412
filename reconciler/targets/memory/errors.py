"""The one place where the errors of the target in memory become ours."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from reconciler.core.errors import (
    AccessError,
    BusyError,
    ConflictError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.targets.memory.faults import WireError


@contextmanager
def mapped(target: str) -> Generator[None]:
    """Runs a block whose wire errors come out as `TargetError`s, chained."""
    try:
        yield
    except WireError as exc:
        raise _translated(target, exc) from exc
    except (TimeoutError, ConnectionError) as exc:
        raise UnavailableError(f"target {target} does not answer: {exc}", hint="is it up, and reachable?") from exc


def _translated(target: str, exc: WireError) -> TargetError:
    text = f"target {target}: {exc}"
    match exc.status:
        case 401:
            return AccessError(f"{text}: the credentials are not accepted", hint="renew the target's credentials")
        case 403:
            return AccessError(f"{text}: not allowed", hint="grant read and write on the target's resources")
        case 404 | 412:
            return ConflictError(text, hint="it is looked at again and planned anew")
        case 409 if exc.code == "busy" or not exc.code:
            return BusyError(text, hint="it is tried again when that has ended", retry_after=exc.retry_after)
        case 409:
            return ConflictError(text, hint="it is looked at again and planned anew")
        case 429:
            return ThrottledError(text, hint="fewer changes at once", retry_after=exc.retry_after)
        case status if status >= 500:
            return UnavailableError(text, hint="it is tried again", retry_after=exc.retry_after)
        case _:
            return TerminalError(text, hint="change the manifest; the same request cannot succeed")
