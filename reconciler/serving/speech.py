"""Listens to what a script prints and logs, beside where that goes anyway."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from typing import Any, TextIO, cast

from .telemetry import THREAD, Said, Telemetry, current

OURS = "reconciler.serving"
# As much of a message as Application Insights takes.
LONGEST = 32_768


def listen(telemetry: Telemetry) -> None:
    """Tell of all that is logged at the root logger's level and of all that is printed from now on."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.addFilter(_not_of_sending)
    root.addHandler(_Logged(telemetry))
    sys.stdout = cast("TextIO", _Printed(sys.stdout, telemetry, "stdout", logging.INFO))
    sys.stderr = cast("TextIO", _Printed(sys.stderr, telemetry, "stderr", logging.WARNING))


def _not_of_sending(record: logging.LogRecord) -> bool:
    """What the libraries say about the sending of telemetry is no line of the service's; its outcome is told once."""
    return record.threadName != THREAD or record.name == OURS


class _Logged(logging.Handler):
    """Tells of log records: the script's, and of the runtime's own those that say what went wrong."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__()
        self._telemetry = telemetry

    def emit(self, record: logging.LogRecord) -> None:
        if record.threadName == THREAD:
            return
        # The runtime's notes may quote what was sent to it; its warnings and errors do not.
        if record.name == OURS and record.levelno < logging.WARNING:
            return
        try:
            text = record.getMessage()[:LONGEST]
        except Exception:  # noqa: BLE001 - of whoever logged it; the other handlers complain
            return
        raised = None
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, _ = record.exc_info
            stack = "".join(traceback.format_exception(*record.exc_info))[-LONGEST:]
            raised = kind.__name__, str(error)[:LONGEST], stack
        self._telemetry.tell(Said(current.get(), int(record.created * 1e9), record.levelno, record.name, text, raised))


class _Printed:
    """A text stream that tells of each line that is written to it; all the rest is the stream's below."""

    def __init__(self, below: TextIO, telemetry: Telemetry, source: str, level: int) -> None:
        self._below = below
        self._telemetry = telemetry
        self._source = source
        self._level = level
        # Lines of several threads do not mix.
        self._begun = threading.local()

    def write(self, text: str) -> int:
        count = self._below.write(text)
        begun: str = getattr(self._begun, "text", "") + text
        *lines, rest = begun.split("\n")
        if len(rest) > LONGEST:
            lines, rest = [*lines, rest], ""
        self._begun.text = rest
        for line in lines:
            if line.strip():
                said = Said(current.get(), time.time_ns(), self._level, self._source, line[:LONGEST])
                self._telemetry.tell(said)
        return count

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        # `flush`, `buffer`, `encoding` and whatever else the stream below has.
        return getattr(self._below, name)
