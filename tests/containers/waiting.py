"""Waiting for what an engine, a daemon or a server does by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PATIENCE = 180.0


def until(condition: Callable[[], object], what: str | Callable[[], str]) -> None:
    """Waits until it is so.

    Args:
        what: What is waited for, or what to say of it if it does not come.

    Raises:
        AssertionError: It did not come.
    """
    limit, pause = time.monotonic() + PATIENCE, threading.Event()
    while not condition():
        assert time.monotonic() < limit, what() if callable(what) else f"waited in vain for {what}"
        pause.wait(0.05)
