"""Commands beside a live daemon: they ask it, wait for its answer, and notice if it dies meanwhile.

The daemon's side is `engine.daemon.orders`; docs/daemon.md lists the kinds and their data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reconciler.core.errors import ReconcilerError, StaleError, TimedOutError, UsageError
from reconciler.engine.clock import Cancel, Clock
from reconciler.engine.store import LeaseInfo, Store

POLL_SECONDS = 0.1
HOLDER_SECONDS = 1.0
WAKE_FILE = "wake"
KINDS = ("apply", "approve", "destroy", "reconcile", "resume", "rotate-key", "suspend")


class RequestFailed(ReconcilerError):
    """What the daemon answered instead of doing it; `exit_code` and `code` are those of the error it met."""

    def __init__(self, message: str, *, hint: str = "", code: str = "internal", exit_code: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.code = code  # pyright: ignore[reportAttributeAccessIssue, reportIncompatibleVariableOverride]
        self.exit_code = exit_code  # pyright: ignore[reportAttributeAccessIssue, reportIncompatibleVariableOverride]


def daemon_of(store: Store) -> LeaseInfo | None:
    """The daemon that is at work on this state, if one is."""
    holder = store.holder()
    return holder if holder is not None and holder.of_daemon else None


def ask(
    store: Store,
    kind: str,
    data: Mapping[str, Any],
    *,
    clock: Clock,
    timeout: float | None = None,
    wake: Path | None = None,
    cancel: Cancel | None = None,
    tell: Callable[[Mapping[str, Any]], None] = lambda told: None,
) -> Mapping[str, Any]:
    """Asks the live daemon for something and waits for its answer.

    Args:
        kind: One of `KINDS`.
        data: Plain data without secrets.
        timeout: Seconds to wait; None for as long as the daemon lives.
        wake: The file whose touch wakes the daemon (`<state>/wake`); without it, it looks every second.
        cancel: Stops the waiting; what the daemon began goes on there.
        tell: Called with each thing that the daemon tells meanwhile, as `engine.daemon.telling` has it.

    Returns:
        The answer.

    Raises:
        UsageError: There is no such kind.
        StaleError: No daemon is at work, or it went away before it answered.
        TimedOutError: It did not answer in time; a request that was not begun is taken back.
        RequestFailed: It could not do it.
    """
    if kind not in KINDS:
        raise UsageError(f"the daemon takes no request '{kind}'", hint=f"there are {', '.join(KINDS)}")
    daemon = daemon_of(store)
    if daemon is None:
        raise StaleError("no daemon is at work on this state", hint="run the command again: it does the work itself")
    seq = store.enqueue(kind, data)
    if wake is not None:
        _touch(wake)
    return _answer(store, seq, daemon, clock, timeout, cancel or Cancel(), tell)


def _answer(
    store: Store,
    seq: int,
    daemon: LeaseInfo,
    clock: Clock,
    timeout: float | None,
    cancel: Cancel,
    tell: Callable[[Mapping[str, Any]], None],
) -> Mapping[str, Any]:
    limit = None if timeout is None else clock.monotonic() + timeout
    looked = clock.monotonic()
    told = 0
    while True:
        request = store.request(seq)
        if request is None:
            raise StaleError("the request was taken back", hint="run the command again")
        for each in request.result.get("told", ())[told:]:
            tell(each)
            told += 1
        if request.state == "done":
            return request.result
        if request.state == "failed":
            raise _failure(request.result)
        now = clock.monotonic()
        if limit is not None and now >= limit:
            raise _late(store, seq, timeout or 0.0)
        if now - looked >= HOLDER_SECONDS:
            looked = now
            holder = store.holder()
            if holder is None or holder.holder != daemon.holder:
                raise _gone(store, seq, daemon)
        pause = POLL_SECONDS if limit is None else min(POLL_SECONDS, limit - now)
        if clock.wait(cancel.event, pause):
            if store.withdraw(seq):
                raise StaleError("the request was taken back before the daemon began it")
            raise StaleError(
                "the daemon goes on with what it was asked for", hint="`reconciler status` shows how it ends"
            )


def _late(store: Store, seq: int, timeout: float) -> TimedOutError:
    if store.withdraw(seq):
        return TimedOutError(
            f"the daemon did not begin within {timeout:g} s; the request is taken back",
            hint="`reconciler status` shows what it is doing",
        )
    return TimedOutError(
        f"the daemon is not done after {timeout:g} s and goes on", hint="`reconciler status` shows how it ends"
    )


def _gone(store: Store, seq: int, daemon: LeaseInfo) -> StaleError:
    begun = not store.withdraw(seq)
    done = "may be half done: what it began is resumed by the next run" if begun else "was not begun"
    return StaleError(
        f"the {daemon.describe()} went away before it answered; what was asked for {done}",
        hint="start the daemon again, or run the command again: without a daemon it does the work itself",
    )


def _failure(result: Mapping[str, Any]) -> RequestFailed:
    return RequestFailed(
        str(result.get("message", "the daemon could not do it")),
        hint=str(result.get("hint", "")),
        code=str(result.get("code", "internal")),
        exit_code=int(result.get("exitCode", 1)),
    )


def _touch(path: Path) -> None:
    try:
        path.touch(mode=0o600)
    except OSError:
        # The daemon looks once a second anyway.
        return
