"""Several replicas, of which one applies: the others answer their probes, say that they stand by, and wait."""

from __future__ import annotations

import threading
from typing import Protocol

import structlog

from reconciler.core.errors import ReconcilerError
from reconciler.engine.clock import Clock, SystemClock
from reconciler.engine.daemon.board import Board
from reconciler.engine.daemon.notify import Notifier
from reconciler.engine.daemon.parts import Options, Serve
from reconciler.engine.daemon.published import Published
from reconciler.engine.daemon.signals import Ending, Signals

log = structlog.get_logger(__name__)


class Election(Protocol):
    """What replicas agree by on the one that applies."""

    @property
    def holder(self) -> str:
        """Who was seen to hold it; empty for nobody."""
        ...

    @property
    def retry_seconds(self) -> float:
        """How long to wait between two tries."""
        ...

    def attempt(self) -> bool:
        """Tries to be the one; whether it is.

        Raises:
            ReconcilerError: It cannot be asked.
        """
        ...

    def keep(self) -> None:
        """Renews what was won until it is released or lost."""
        ...

    def check(self) -> None:
        """Nothing may be written any more once this fails.

        Raises:
            StaleError: It was lost, or could not be renewed in time.
        """
        ...

    def release(self) -> None:
        """Gives it back, so that the next one need not wait for its end."""
        ...


class StandBy:
    """Waits to be the one that applies.

    Args:
        serve: Starts the web server, which says meanwhile that this one stands by; None for none.
        signals: Whether to handle SIGTERM and SIGINT; only possible in the main thread.
    """

    def __init__(
        self,
        election: Election,
        serve: Serve | None = None,
        clock: Clock | None = None,
        *,
        signals: bool = True,
    ) -> None:
        self._election = election
        self._serve = serve
        self._clock: Clock = clock or SystemClock()
        self._signals = signals
        self._stop = threading.Event()
        self._ending: Ending | None = None
        self._trouble = ""
        self.board = Board("", self._clock.monotonic)

    def wait(self) -> int | None:
        """Until this one is to apply; the exit code where it was told to stop before.

        Raises:
            InvalidError: The address of the web server cannot be had.
        """
        if self._attempt(""):
            return None
        published = Published(self.board, self._clock, lambda: None)
        server = self._serve(self.board, Options(), published) if self._serve is not None else None
        try:
            with Signals(self, self._signals):
                self._wait()
        finally:
            if server is not None:
                server.close()
        if self._ending is None:
            return None
        # Whoever was told so while it asked may have won meanwhile: it gives the lease back.
        log.info("daemon stopped", reason=self._ending.reason, exit_code=self._ending.code)
        return self._ending.code

    def _wait(self) -> None:
        told = None
        notifier = Notifier()
        notifier.tell("READY=1")
        while self._ending is None:
            holder = self._election.holder
            # Who cannot even ask is not ready to take over.
            self.board.stands_by("" if self._trouble else holder or "nobody yet")
            if told != holder:
                log.info("standing by", holder=holder or None)
                told = holder
            self._clock.wait(self._stop, self._election.retry_seconds)
            if self._ending is None and self._attempt(holder):
                return

    def _attempt(self, before: str) -> bool:
        try:
            won = self._election.attempt()
        except ReconcilerError as exc:
            if self._trouble != exc.message:
                log.warning("the lease cannot be asked for", error=exc.message, hint=exc.hint)
            self._trouble = exc.message
            self.board.source_failed(exc.message)
            return False
        self._trouble = ""
        self.board.source_failed("")
        if won:
            log.info("leading", before=before or None)
            self._election.keep()
        return won

    def end(self, ending: Ending) -> None:
        """Stops waiting."""
        self._ending = ending
        self._stop.set()

    def reload(self) -> None:
        """Settings are read when this one begins to apply."""
        log.info("settings are read when this one leads")
