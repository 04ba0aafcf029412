"""What whoever asked the daemon for something is told while it is done: the plan, then each change as it moves on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from reconciler.core.change import Plan
from reconciler.core.errors import ReconcilerError
from reconciler.engine.clock import Clock
from reconciler.engine.progress import ProgressEvent
from reconciler.engine.store import Store
from reconciler.views import plan_text

PAUSE_SECONDS = 0.5
_MOST_EVENTS = 500
# All of it is written again with each event.
_LONGEST_PLAN = 400


class Telling:
    """Tells one request's asker, at most twice a second; safe to call from many threads."""

    def __init__(self, store: Store, seq: int, clock: Clock) -> None:
        self._store = store
        self._seq = seq
        self._clock = clock
        self._lock = threading.Lock()
        self._told: list[dict[str, Any]] = []
        self._said: set[tuple[str, ...]] = set()
        self._at = float("-inf")

    def plan(self, plan: Plan) -> None:
        """Tells what is going to be done, before it is."""
        lines = plan_text.render(plan).splitlines()
        if len(lines) > _LONGEST_PLAN:
            more = f"… and {len(lines) - _LONGEST_PLAN:,} more lines; `reconciler plan` shows them before it is applied"
            lines = [*lines[:_LONGEST_PLAN], more]
        with self._lock:
            self._told.append({"plan": "\n".join(lines)})
            self._write()

    def __call__(self, event: ProgressEvent) -> None:
        """Tells that a change moved on; where it stays, however often it is looked at, once."""
        said = (str(event.id), event.step.value, event.state.value, event.text)
        with self._lock:
            if said in self._said or len(self._said) >= _MOST_EVENTS:
                return
            self._said.add(said)
            self._told.append(event.to_json())
            if self._clock.monotonic() - self._at >= PAUSE_SECONDS:
                self._write()

    def with_answer(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer, with all that was told on the way: the last of it may not have been seen yet."""
        with self._lock:
            return {**answer, "told": list(self._told)}

    def _write(self) -> None:
        self._at = self._clock.monotonic()
        # The work does not hang on who watches it; a lost lease shows at its next write.
        with suppress(ReconcilerError):
            self._store.answer(self._seq, "running", {"told": list(self._told)})
