"""Asking a live daemon: a request in the store, and its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.core.errors import StaleError, TimedOutError
from reconciler.views.values import paragraph

if TYPE_CHECKING:
    from reconciler.engine.store import Store

POLL_SECONDS = 0.1


def daemon_at_work(store: Store) -> bool:
    """Whether a daemon holds the lease, so that it is to be asked."""
    holder = store.holder()
    return holder is not None and holder.purpose == "daemon"


def ask(
    store: Store,
    kind: str,
    data: Mapping[str, Any],
    console: Console,
    *,
    wait: bool = True,
    timeout: float | None = None,
) -> int:
    """Queues a request and waits for its answer; prints it and returns its exit code.

    Ctrl-C takes a request back that was not begun; one that was goes on in the daemon.

    Raises:
        StaleError: The daemon went away.
        TimedOutError: It did not answer in the time given.
    """
    number = store.enqueue(kind, data)
    if not wait:
        console.note(f"asked the daemon: request {number}")
        return exits.DONE
    started = time.monotonic()
    try:
        while True:
            request = store.request(number)
            if request is not None and request.state in ("done", "failed"):
                return _answer(request.state, request.result, console)
            if not daemon_at_work(store):
                store.withdraw(number)
                raise StaleError("the daemon went away before it answered", hint="run the command again")
            if timeout is not None and time.monotonic() - started > timeout:
                taken = "and was taken back" if store.withdraw(number) else "and goes on there"
                raise TimedOutError(f"the daemon did not finish in the time given; request {number} {taken}")
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        taken = "was taken back" if store.withdraw(number) else "goes on in the daemon"
        console.note(f"request {number} {taken}")
        raise


def _answer(state: str, result: Mapping[str, Any], console: Console) -> int:
    code = int(result.get("exitCode", exits.DONE if state == "done" else exits.INTERNAL))
    if console.output == "json":
        console.json({"kind": "Answer", "state": state, **result})
        return code
    text = str(result.get("message", "")) or ("done" if state == "done" else "failed")
    for line in paragraph(text):
        (console.line if code == exits.DONE else console.note)(line)
    if result.get("hint"):
        console.note(f"  {paragraph(str(result['hint']))[0]}")
    return code
