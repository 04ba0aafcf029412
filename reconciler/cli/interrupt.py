"""Ctrl-C and SIGTERM while something is being done: stop at the next step boundary; a second one stops at once."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from reconciler.cli.console import Console
from reconciler.engine.clock import Cancel


@contextmanager
def cancelling(cancel: Cancel, console: Console, told: str) -> Generator[None]:
    """While the block runs, SIGINT and SIGTERM ask it to stop.

    Args:
        told: What is said when the first one comes.

    Raises:
        KeyboardInterrupt: A second signal came.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        if cancel.requested:
            raise KeyboardInterrupt
        cancel.request("interrupted" if number == signal.SIGINT else "stopping")
        console.note(told)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
