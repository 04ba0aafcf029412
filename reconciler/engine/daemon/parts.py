"""What the daemon is made of: plain values and small protocols, put together by `reconciler.wiring`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from reconciler.core.dataclass import dataclass, field
from reconciler.engine.daemon.announcing import Announcement
from reconciler.engine.daemon.board import Board
from reconciler.engine.daemon.published import Publish, Published
from reconciler.engine.daemon.queue import Pace
from reconciler.engine.reconcile import Reconciler

Watch: TypeAlias = Callable[[threading.Event], Iterable[object]]
"""Yields something whenever the manifest repo may have changed, until the event is set; what it yields is ignored."""


@dataclass(frozen=True, slots=True)
class Poll:
    """Asking a remote for the commit its ref names.

    Args:
        peek: The cheap question; raises `ReconcilerError` where it cannot be asked.
        seconds: Between two questions; each pause is stretched by up to a fifth, so that many daemons spread.
    """

    peek: Callable[[], str]
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """How the daemon works.

    Args:
        full_look_seconds: Between full looks at everything, whatever happened.
        workers: Targets that are worked on at once.
        slow_seconds: A run that takes longer gives its place back, so that slow targets delay no others.
        grace_seconds: How long running driver calls may take to end when the daemon is asked to stop.
        silence_seconds: Without a sign of life for so long, a target makes the daemon count as hung.
        pace: How often one target is looked at.
        snapshot_file: Where the snapshot is kept for others; None for nowhere.
    """

    full_look_seconds: float = 60.0
    workers: int = 4
    slow_seconds: float = 5.0
    grace_seconds: float = 30.0
    silence_seconds: float = 300.0
    pace: Pace = field(default_factory=Pace)
    snapshot_file: Path | None = None


@dataclass(frozen=True)
class Parts:
    """All that settings determine; made anew when they are reloaded.

    Args:
        reconciler: Its `drivers` must be safe to call from many threads, and give the same driver for the same target.
        watches: On the manifest repo, for working copies.
        poll: For remotes.
        announcement: What a forge is told of commits; None for nothing.
        publish: Makes snapshots; None for none.
        close: Called when nothing uses these parts any more.
    """

    reconciler: Reconciler
    watches: Sequence[Watch] = ()
    poll: Poll | None = None
    options: Options = field(default_factory=Options)
    announcement: Announcement | None = None
    publish: Publish | None = None
    close: Callable[[], None] = lambda: None


class Server(Protocol):
    """What answers `/healthz` and its like; `reconciler.web.server.WebServer` is one."""

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        ...

    def close(self) -> None:
        """Stops it."""
        ...


Serve: TypeAlias = Callable[[Board, Options, Published], Server]
"""Starts a server that reads the board and the snapshot; raises InvalidError where the address cannot be had."""
