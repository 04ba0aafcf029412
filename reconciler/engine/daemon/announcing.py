"""Telling a forge how applying a commit goes: a thread of its own, which nothing in the daemon waits for.

It follows the board. What is worth telling waits in an outbox of two places at most: the end of the commit before, and
the newest state of this one. A forge that cannot be reached, or refuses, is tried again after growing pauses; what was
told last is a fact in the store, so that a daemon that starts anew does not repeat it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

import structlog

from reconciler.core.commit_status import CommitState, CommitStatus, worth_telling
from reconciler.core.contents import Revision
from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import ReconcilerError, TargetError
from reconciler.core.problems import errors_of
from reconciler.core.report import ServiceReport, Sync
from reconciler.core.resources import Health
from reconciler.engine.clock import Clock
from reconciler.engine.daemon.board import Board, Snapshot
from reconciler.engine.store import Store

log = structlog.get_logger(__name__)

Post: TypeAlias = Callable[[str, CommitStatus], None]
"""Tells the forge a commit's status; raises ReconcilerError where it cannot."""

FACT = "commit-status/"
# The stop event is looked at so often, and whether a pause is over.
TICK_SECONDS = 1.0
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
_BAD = frozenset({"failed", "partly", "refused", "error", "unavailable"})


def status_of(snapshot: Snapshot) -> tuple[str, CommitStatus] | None:
    """How the newest commit fares at all targets together; None while nothing is loaded."""
    revision = Revision.parse(snapshot.revision)
    if not snapshot.loaded or not revision.sha or revision.dirty:
        return None
    lasts = {name: status.last for name, status in sorted(snapshot.targets.items())}
    ended = {name: last for name, last in lasts.items() if last is not None and last.revision == revision.short}
    bad = [f"{name}: {last.outcome}" for name, last in ended.items() if last.outcome in _BAD]
    services = [s for s in snapshot.report.services if s.sync is not Sync.KEPT]
    waiting = [name for name, last in ended.items() if last.outcome == "waiting"]
    # What is on its way at a target that waits cannot be well yet.
    judged = [s for s in services if s.target not in waiting or not _waits(s)]
    broken = [s.name for s in judged if s.health in (Health.DEGRADED, Health.MISSING, Health.UNKNOWN)]
    errors = len(errors_of(snapshot.problems))
    whole = len(ended) == len(lasts) and all(last.good for last in ended.values())
    settled = whole and not any(_waits(service) for service in services)
    counted = f"{len(services):,} service{'' if len(services) == 1 else 's'}"
    # Health that is bad before a commit's own reconcile says nothing about the commit.
    parts = [*([f"{errors:,} errors in manifests"] if errors else []), *bad]
    parts += [f"{len(broken):,} of {counted} unhealthy: {', '.join(broken)}"] if broken and whole else []
    if parts:
        return revision.sha, CommitStatus(CommitState.FAILURE, "; ".join(parts))
    if settled:
        return revision.sha, CommitStatus(CommitState.SUCCESS, f"{counted} in sync and healthy")
    done = sum(last.outcome in ("in sync", "applied") for last in ended.values())
    held = [name for name in waiting if ended[name].refused]
    parts = [f"{done:,} of {len(lasts):,} targets done", *(f"{name} waits for approval" for name in held)]
    return revision.sha, CommitStatus(CommitState.PENDING, "; ".join(parts))


def _waits(service: ServiceReport) -> bool:
    """Whether it is still on its way to what the commit wants."""
    pending = service.sync in (Sync.PENDING, Sync.BOTH) and not service.suspended
    return pending or service.health is Health.PROGRESSING


@dataclass
class Outbox:
    """What the forge was told last, and what it is still to be told.

    Args:
        told: The commit and its state; None for nothing yet.
    """

    told: tuple[str, CommitState] | None = None
    waiting: list[tuple[str, CommitStatus]] = field(default_factory=list[tuple[str, CommitStatus]])

    def put(self, sha: str, status: CommitStatus, newest: str) -> None:
        """Takes in the present state of the newest commit, in place of what was not told yet.

        Args:
            newest: The commit as people read it.
        """
        self.waiting = []
        before, state = self.told or ("", None)
        if before not in ("", sha) and state is CommitState.PENDING:
            self.waiting.append((before, CommitStatus(CommitState.STOPPED, f"superseded by {newest}")))
        if worth_telling(state if before == sha else None, status.state):
            self.waiting.append((sha, status))

    @property
    def next(self) -> tuple[str, CommitState] | None:
        """The commit and state to be told next."""
        return (self.waiting[0][0], self.waiting[0][1].state) if self.waiting else None

    def posted(self) -> None:
        """The first of what waits was told."""
        sha, status = self.waiting.pop(0)
        self.told = (sha, status.state)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is told where.

    Args:
        name: Of the status; what was told under another name does not count.
        post: Called in a thread of its own, and may take its time.
    """

    name: str
    post: Post


@dataclass
class Announcer:
    """Follows a board, and tells a forge."""

    announcement: Announcement
    board: Board
    store: Store
    clock: Clock
    _outbox: Outbox = field(default_factory=Outbox, init=False)
    _seen: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _due: float = field(default=0.0, init=False)
    _said: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._outbox.told = self._recall()

    def work(self, stop: threading.Event) -> None:
        """Until told to stop."""
        while not stop.is_set():
            self.step(stop, TICK_SECONDS)

    def step(self, stop: threading.Event, seconds: float) -> None:
        """Waits for something new, so many seconds at most, and tells what is due."""
        version = self.board.changed(self._seen, seconds)
        if version != self._seen and not stop.is_set():
            self._seen = version
            self._follow()
        while self._outbox.waiting and self.clock.monotonic() >= self._due and not stop.is_set():
            self._send(stop)

    def _follow(self) -> None:
        sha = Revision.parse(self.board.revision).sha
        if not self._outbox.waiting and self._outbox.told == (sha, CommitState.SUCCESS):
            # The last word on this commit; putting a report of ten thousand services together again adds nothing.
            return
        snapshot = self.board.snapshot()
        found = status_of(snapshot)
        if found is None:
            return
        first = self._outbox.next
        self._outbox.put(*found, Revision.parse(snapshot.revision).short)
        if self._outbox.next != first:
            # Something else is to be told: what failed before need not fail again.
            self._failures, self._due = 0, 0.0

    def _send(self, stop: threading.Event) -> None:
        sha, status = self._outbox.waiting[0]
        try:
            self.announcement.post(sha, status)
        except ReconcilerError as error:
            self._failed(error.message, error.hint, error.retry_after if isinstance(error, TargetError) else None)
            return
        except Exception as error:
            # A fault of ours here must not cost more than a status.
            log.exception("internal error", key="commit status")
            self._failed(f"internal error: {type(error).__name__}", "", None)
            return
        self._outbox.posted()
        self._failures, self._due, self._said = 0, 0.0, ""
        log.info("commit status", commit=sha[:7], state=status.state.value, description=status.line)
        if not stop.is_set():
            self._remember(sha, status.state)

    def _failed(self, message: str, hint: str, retry_after: float | None) -> None:
        pause = min(FIRST_PAUSE * 2.0**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 20)
        self._due = self.clock.monotonic() + max(pause, retry_after or 0.0)
        if message != self._said:
            self._said = message
            log.warning("commit status not posted", error=message, hint=hint or None)

    def _recall(self) -> tuple[str, CommitState] | None:
        try:
            kept = self.store.fact(FACT + self.announcement.name)
            return (str(kept["commit"]), CommitState(kept["state"])) if kept else None
        except (ReconcilerError, KeyError, TypeError, ValueError):
            return None

    def _remember(self, sha: str, state: CommitState) -> None:
        try:
            self.store.put_fact(FACT + self.announcement.name, {"commit": sha, "state": state.value})
        except ReconcilerError as error:
            # A lost lease ends the daemon elsewhere; at worst a status is posted twice.
            log.debug("commit status not recorded", error=error.message)
