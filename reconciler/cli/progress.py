"""Progress on standard error: a line for each step that ended, and on a terminal one line for what is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from reconciler.cli.console import Console
from reconciler.core.resources import ResourceId
from reconciler.engine.lifecycle import FINAL, State
from reconciler.engine.progress import ProgressEvent
from reconciler.views.grouping import told
from reconciler.views.values import paragraph, printable

_STYLES = {
    State.DONE: "green",
    State.FAILED: "red",
    State.SKIPPED: "yellow",
    State.NOT_ATTEMPTED: "yellow",
    State.HANDED_OVER: "yellow",
    State.BACKING_OFF: "yellow",
}
_WIDEST = 110
_REDRAW_SECONDS = 0.1


class Progress:
    """Prints what a run tells; safe to call from its threads.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[ResourceId, tuple[ProgressEvent, float]] = {}
        self._told: dict[ResourceId, tuple[State, str, str]] = {}
        self._drawn = False
        self._drawn_at = 0.0

    def __call__(self, event: ProgressEvent) -> None:
        """Takes note of an event."""
        with self._lock:
            said = (event.state, event.step.value, event.text)
            if event.state in FINAL:
                self._under_way.pop(event.id, None)
            else:
                known = self._under_way.get(event.id)
                self._under_way[event.id] = (event, known[1] if known else self._clock())
            if self._told.get(event.id) != said and (event.state in FINAL or event.text):
                self._told[event.id] = said
                self._clear()
                self._console.note(self._line(event))
            self._draw()

    def close(self) -> None:
        """Takes the line of what is under way away."""
        with self._lock:
            self._clear()

    def _line(self, event: ProgressEvent) -> str:
        style = self._console.error_style
        first, *rest = paragraph(event.text) if event.text else [""]
        word = style.paint(event.state.value, *(name for name in (_STYLES.get(event.state),) if name))
        took = f" ({event.seconds:.1f} s)" if event.seconds >= 0.05 else ""
        step = "" if event.state in FINAL else f"{event.step.value}: "
        lines = [f"  {event.action.glyph} {printable(told(event.id))}  {step}{word}{took}  {first}".rstrip()]
        if event.state not in FINAL:
            return lines[0]  # the whole reason comes once, at the end
        return "\n".join([*lines, *(f"      {line}" for line in rest)])

    def _draw(self) -> None:
        now = self._clock()
        if not self._console.live or now - self._drawn_at < _REDRAW_SECONDS or not self._under_way:
            return
        self._drawn_at = now
        parts = [
            f"{printable(told(event.id))} {event.step.value} {now - since:.0f} s"
            for event, since in self._under_way.values()
        ]
        text = f"  … {', '.join(parts)}"
        self._console.beside(f"\r\x1b[2K{text[:_WIDEST]}")
        self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            self._console.beside("\r\x1b[2K")
            self._drawn = False
