"""What a service says and what happens to it: its log, rotated by size, and the last events."""

# No pathlib: it would cost each supervisor a megabyte.
# ruff: noqa: PTH105

from __future__ import annotations

import json
import os
import time

from reconciler.core.hiding import hide
from reconciler.targets.local.process.layout import LOG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

EVENTS_KEPT = 50
TAIL_KEPT = 20
_LONGEST_LINE = 64 * 1024


class Journal:
    """Appends to the log and keeps the last events.

    Args:
        folder: The service's.
        events: What an earlier supervisor left, as `{"at": unix seconds, "text": …}`.
        changed: Called after each event with its text.
    """

    def __init__(
        self,
        folder: str,
        events: list[dict[str, Any]],
        changed: Callable[[str], None],
    ) -> None:
        self._path = f"{folder}/{LOG}"
        self._max_bytes = 10_000_000
        self._backups = 4
        self._changed = changed
        self._full = False
        self.events = events[-EVENTS_KEPT:]
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._fd).st_size

    def limit(self, max_bytes: int, backups: int) -> None:
        """Sets the size at which the log is rotated, and how many rotated files stay (the newest is `.1`)."""
        self._max_bytes = max_bytes
        self._backups = backups

    def write(self, data: bytes) -> None:
        """Appends whole lines. A full disk loses lines, never the service; it is said once."""
        try:
            if self._size and self._size + len(data) > self._max_bytes:
                self._rotate()
            os.write(self._fd, data)
            self._full = False
        except OSError as error:
            if not self._full:
                self._full = True
                self.event(f"log lines are lost: {error.strerror}")
        self._size += len(data)

    def _rotate(self) -> None:
        if not self._backups:
            os.ftruncate(self._fd, 0)
            self._size = 0
            return
        for number in range(self._backups, 0, -1):
            older = f"{self._path}.{number - 1}" if number > 1 else self._path
            try:
                os.replace(older, f"{self._path}.{number}")
            except FileNotFoundError:
                continue
        os.close(self._fd)
        self._open()

    def event(self, text: str, **fields: Any) -> None:
        """Records that something happened, in a few words, here and in the log."""
        now = time.time()
        self.events.append({"at": round(now, 3), "text": text})
        del self.events[:-EVENTS_KEPT]
        if not self._full:
            line = {"time": _iso(now), "level": "info", "logger": "reconciler.supervisor", "message": text, **fields}
            self.write(json.dumps(line).encode() + b"\n")
        self._changed(text)


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


class Output:
    """One worker's output on its way to the log: cut into lines, so that those of two workers do not mix.

    Args:
        secrets: What `tail`, which people are shown outside of the log, is not to hold.
    """

    __slots__ = ("_journal", "_rest", "_secrets", "tail")

    def __init__(self, journal: Journal, secrets: Sequence[str] = ()) -> None:
        self._journal = journal
        self._secrets = secrets
        self._rest = b""
        self.tail: list[str] = []

    def feed(self, data: bytes) -> None:
        """Takes what was read."""
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        if not newline and len(rest) > _LONGEST_LINE:
            whole, newline, rest = rest, b"\n", b""
        self._rest = rest
        if newline:
            self._put(whole + newline)

    def end(self) -> None:
        """Writes a last line that had no end."""
        if self._rest:
            self._put(self._rest + b"\n")
            self._rest = b""

    def _put(self, lines: bytes) -> None:
        self._journal.write(lines)
        latest = lines[-16384:].decode(errors="replace").splitlines()
        if len(lines) > 16384:
            # What is left of a line that was cut could begin in the middle of a secret.
            del latest[:1]
        self.tail += [_words(line, self._secrets) for line in latest if line.strip()]
        del self.tail[:-TAIL_KEPT]


def _words(line: str, secrets: Sequence[str]) -> str:
    """A line for people, without secrets: of the runtime's JSON only the message and what it raised."""
    if line.startswith("{"):
        try:
            data: dict[str, Any] = json.loads(line)
        except ValueError:
            return hide(line, secrets)[:500]
        shown = [str(data[key]) for key in ("message", "event", "exception") if data.get(key)]
        return hide("\n".join(shown), secrets)[-1500:] if shown else hide(line, secrets)[:500]
    return hide(line, secrets)[:500]
