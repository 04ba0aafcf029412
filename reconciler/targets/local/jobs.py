"""A version being prepared on a thread of its own, so that a driver's `apply` returns at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from reconciler.core.resources import Health, Staged


class Job(threading.Thread):
    """A version being prepared: files, supervisor or container.

    Args:
        promotes: Whether it goes into service in the same breath.
    """

    def __init__(self, spec_digest: str, promotes: bool, work: Callable[[], None]) -> None:
        super().__init__(name=f"stage {spec_digest[:8]}", daemon=True)
        self.spec_digest = spec_digest
        self.promotes = promotes
        self.error: Exception | None = None
        self.cancelled = False
        self._work = work

    def run(self) -> None:
        """Does the work; what it raises is kept for whoever asks."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - reported by the next apply and by every observe
            self.error = error

    def staged(self) -> Staged | None:
        """How it stands; None once it is done."""
        if self.is_alive():
            return Staged(self.spec_digest, Health.PROGRESSING, "being prepared")
        if self.error is not None:
            return Staged(self.spec_digest, Health.DEGRADED, str(self.error))
        return None
