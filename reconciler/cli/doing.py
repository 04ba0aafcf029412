"""Doing something that writes: by a live daemon if there is one, else here, under the lease."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.cli import ending
from reconciler.cli.console import Console
from reconciler.cli.interrupt import cancelling
from reconciler.cli.progress import Progress
from reconciler.core.errors import StaleError
from reconciler.engine.clock import Cancel, SystemClock
from reconciler.engine.daemon.logs import configure_logging
from reconciler.engine.progress import Progress as Told
from reconciler.engine.progress import ProgressEvent
from reconciler.engine.requests import WAKE_FILE, ask, daemon_of
from reconciler.engine.summary import Summary, summary_of

if TYPE_CHECKING:
    from reconciler.engine.outcome import Outcome
    from reconciler.engine.store import Store
    from reconciler.wiring import Places

__all__ = ["ask_daemon", "carry_out", "daemon_of", "show", "who"]


def who() -> str:
    """Who asks, for the record: `user@host`."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def ask_daemon(
    store: Store,
    places: Places,
    kind: str,
    data: Mapping[str, Any],
    console: Console,
    *,
    timeout: float | None = None,
    wait: bool = True,
) -> Mapping[str, Any] | None:
    """The daemon's answer to a request; None if it is not waited for.

    Raises:
        KeyboardInterrupt: The waiting was interrupted; what the daemon has begun goes on there.
        StaleError, TimedOutError, RequestFailed: As `engine.requests.ask`.
    """
    given = {**data, "by": who()}
    if not wait:
        number = store.enqueue(kind, given)
        (places.state_dir / WAKE_FILE).touch(mode=0o600)
        console.note(f"asked the daemon (request {number}); `reconciler status` shows how it ends")
        return None
    cancel, progress = Cancel(), Progress(console)

    def tell(told: Mapping[str, Any]) -> None:
        if "plan" not in told:
            progress(ProgressEvent.from_json(told))
        elif console.output == "text":
            console.line(str(told["plan"]))

    with cancelling(cancel, console, "waiting no longer"):
        try:
            return ask(
                store,
                kind,
                given,
                clock=SystemClock(),
                timeout=timeout,
                wake=places.state_dir / WAKE_FILE,
                cancel=cancel,
                tell=tell,
            )
        except StaleError as error:
            if not cancel.requested:
                raise
            console.note(error.message)
            raise KeyboardInterrupt from error
        finally:
            progress.close()


def carry_out(work: Callable[[Told, Cancel], Outcome], console: Console) -> Summary:
    """Runs what the engine does, showing its progress; Ctrl-C stops it at the next step boundary."""
    # The engine's log is the daemon's; here, what it says is in the progress, the outcome and the history.
    configure_logging("auto", "info" if console.verbose else "error", console.err)
    cancel, progress = Cancel(), Progress(console)
    with cancelling(cancel, console, "stopping after the steps under way; once more to stop at once"):
        try:
            return summary_of(work(progress, cancel))
        finally:
            progress.close()


def show(summary: Summary, console: Console, *, deleting: bool = False) -> int:
    """Prints how it ended; returns the exit code."""
    if console.output == "json":
        console.json({"kind": "Outcome", "formatVersion": 1, **summary.to_json()})
    else:
        for line in ending.text(summary, console.style, deleting=deleting):
            console.line(line)
    return summary.exit_code
