"""The daemon's snapshot: made when somebody asks for it, and written to a file where the operator wants one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import structlog

from reconciler.core.errors import ReconcilerError
from reconciler.core.situation import Situation
from reconciler.engine.clock import Clock
from reconciler.engine.daemon.board import Board

log = structlog.get_logger(__name__)

Publish: TypeAlias = Callable[[Mapping[str, "Situation | None"]], bytes]
"""Makes a signed snapshot of what was last known and seen of each target."""

# One that is younger is given again: asking often costs the targets' workers nothing.
FRESH_SECONDS = 5.0


class Published:
    """The newest snapshot. Safe to use from many threads.

    Args:
        publish: The maker of the present settings; None for none.
    """

    def __init__(self, board: Board, clock: Clock, publish: Callable[[], Publish | None]) -> None:
        self._board = board
        self._clock = clock
        self._publish = publish
        self._lock = threading.Lock()
        self._newest: tuple[float, Publish, bytes] | None = None
        self._failed = ""

    def newest(self, fresh: float = FRESH_SECONDS) -> bytes | None:
        """The signed snapshot; None until every target was reconciled once.

        Args:
            fresh: Seconds for which the same one is given again.
        """
        snapshot = self._board.snapshot()
        publish = self._publish()
        if publish is None or not snapshot.loaded or any(s.last is None for s in snapshot.targets.values()):
            return None
        with self._lock:
            now = self._clock.monotonic()
            known = self._newest
            if known is not None and known[1] is publish and now - known[0] < fresh:
                return known[2]
            made = publish(self._board.seen())
            self._newest = (now, publish, made)
            return made

    def write_to(self, path: Callable[[], Path | None], stop: threading.Event, seconds: float = FRESH_SECONDS) -> None:
        """Keeps a file up to date until told to stop.

        Args:
            path: The file that the present settings name; None for none.
            seconds: Between two looks whether there is something new.
        """
        written: tuple[Path, dict[str, Situation | None]] | None = None
        while not stop.is_set():
            to = path()
            try:
                if to is not None:
                    seen = self._board.seen()
                    known = written is not None and written[0] == to and _same(written[1], seen)
                    if not known and (data := self.newest(0.0)) is not None:
                        written = (to, seen) if self._write(to, data) else None
            except ReconcilerError as error:
                self._tell(error.message, error.hint)
            except Exception:
                log.exception("internal error", key="snapshot")
            self._clock.wait(stop, seconds)

    def _write(self, path: Path, data: bytes) -> bool:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            self._tell(f"{path}: {error.strerror}", "check snapshot.file and the permissions of its folder")
            return False
        self._failed = ""
        return True

    def _tell(self, reason: str, hint: str) -> None:
        """Logs why there is no snapshot, once."""
        if reason != self._failed:
            log.error("snapshot not written", error=reason, hint=hint)
        self._failed = reason


def _same(one: Mapping[str, Situation | None], other: Mapping[str, Situation | None]) -> bool:
    return one.keys() == other.keys() and all(situation is other[name] for name, situation in one.items())
