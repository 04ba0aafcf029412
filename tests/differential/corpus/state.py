"""State made in `init` that is bound to its thread: SQLite, a signal handler, a thread-local."""

import signal
import sqlite3
import threading

local = threading.local()


def init():
    global database, calls
    database = sqlite3.connect(":memory:")
    local.value = "kept"
    calls = []
    signal.signal(signal.SIGUSR1, lambda *_: calls.append("signal"))


def run(data):
    signal.raise_signal(signal.SIGUSR1)
    return [database.execute("select 1 + 1").fetchone()[0], getattr(local, "value", "lost"), calls[-1:]]
