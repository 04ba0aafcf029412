"""The daemon: a queue of keys, triggers that wake them, workers that reconcile, and requests from commands."""

from reconciler.engine.daemon.announcing import Announcement
from reconciler.engine.daemon.board import Board, Reconciled, Snapshot
from reconciler.engine.daemon.daemon import Daemon
from reconciler.engine.daemon.logs import configure_logging
from reconciler.engine.daemon.parts import Options, Parts, Poll, Serve, Server, Watch
from reconciler.engine.daemon.published import Published
from reconciler.engine.daemon.queue import Pace

__all__ = [
    "Announcement",
    "Board",
    "Daemon",
    "Options",
    "Pace",
    "Parts",
    "Poll",
    "Published",
    "Reconciled",
    "Serve",
    "Server",
    "Snapshot",
    "Watch",
    "configure_logging",
]
