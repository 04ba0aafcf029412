"""One writer per installation: a lease with holder, expiry, heartbeat and a fencing number on every write."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import StaleError
from reconciler.engine.clock import Clock
from reconciler.engine.store.tables import lease

TTL_SECONDS = 30.0
DAEMON = "daemon"  # what a daemon holds it for


# Part of every transaction that writes, so it is given to SQLite as it is.
_TOUCH = "UPDATE lease SET id = id WHERE fence = :held"


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """Who holds the lease; times are Unix seconds."""

    fence: int
    holder: str
    host: str
    pid: int
    purpose: str
    address: str
    started_at: float
    expires_at: float

    @property
    def of_daemon(self) -> bool:
        """Whether a daemon holds it; else it is a command's, for as long as that runs."""
        return self.purpose == DAEMON

    def describe(self) -> str:
        """For messages: `daemon on host, pid 12`."""
        return f"{self.purpose} on {self.host}, pid {self.pid}"

    def state(self, now: float) -> str:
        """`held`; or why it binds nobody any more: `released`, `expired`, or `dead`, its process being gone."""
        if not self.expires_at:
            return "released"
        if self.expires_at <= now:
            return "expired"
        return "dead" if self.dead else "held"

    @property
    def dead(self) -> bool:
        """Its process is known to be gone: same host, and no such pid."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def last_lease(engine: Engine) -> LeaseInfo | None:
    """The lease as it was last taken, whether or not it is still held."""
    with engine.connect() as connection:
        row = connection.execute(select(lease)).first()
    return LeaseInfo(*row[1:]) if row else None


def read_lease(engine: Engine, now: float) -> LeaseInfo | None:
    """The lease if somebody holds it now."""
    info = last_lease(engine)
    return info if info and info.state(now) == "held" else None


def take_away(engine: Engine, fence: int) -> None:
    """Ends a lease whoever holds it: what its holder still writes fails, the next one may take it at once.

    Raises:
        StaleError: It is not the present lease any more.
    """
    with engine.begin() as connection:
        ended = connection.execute(
            lease.update().where(lease.c.fence == fence, lease.c.expires_at > 0).values(fence=fence + 1, expires_at=0.0)
        )
        if not ended.rowcount:
            raise StaleError(
                f"lease {fence} is not the present one, or was given back", hint="`reconciler lock list` shows it"
            )


class Lease:
    """Held between `take` and `release`; `check` is called inside every writing transaction.

    Args:
        purpose: `daemon`, `apply` … for the message that others get.
        address: Where the holder listens, for those who want to talk to it.
        allowed: Fails with StaleError when this process may write no more for another reason than the lease.

    `lost` is set as soon as it is known that somebody else holds it.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        purpose: str,
        address: str = "",
        allowed: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._purpose = purpose
        self._address = address
        self._allowed = allowed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.fence = 0
        self.lost = threading.Event()

    def take(self) -> None:
        """Takes the lease if it is free, expired, or its holder's process is gone.

        Raises:
            StaleError: Somebody else holds it; the message says who and until when.
        """
        now = self._clock.now()
        with self._engine.begin() as connection:
            # SQLite takes its write lock at the first write, so write before reading.
            connection.execute(lease.update().values(id=lease.c.id))
            row = connection.execute(select(lease)).first()
            info = LeaseInfo(*row[1:]) if row else None
            if info and info.state(now) == "held" and info.holder != self._holder:
                raise StaleError(
                    f"another writer is at work on this state: {info.describe()}",
                    hint="let it finish, or stop it; a dead one's lease ends by itself within 30 seconds "
                    "(`reconciler lock list` shows it)",
                )
            self.fence = (info.fence if info else 0) + 1
            values = {
                "id": 1,
                "fence": self.fence,
                "holder": self._holder,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "purpose": self._purpose,
                "address": self._address,
                "started_at": now,
                "expires_at": now + TTL_SECONDS,
            }
            if row:
                connection.execute(lease.update().values(**values))
            else:
                connection.execute(lease.insert().values(**values))

    def keep(self) -> None:
        """Starts the heartbeat that renews the lease until it is released."""
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(TTL_SECONDS / 3):
            try:
                self.renew()
            except StaleError:
                return
            except SQLAlchemyError:
                # A full disk or a locked file may pass; if it does not, the next writer of a record says so.
                continue

    def renew(self) -> None:
        """Moves the expiry on.

        Raises:
            StaleError: The lease was lost.
        """
        with self._engine.begin() as connection:
            self.check(connection)
            connection.execute(lease.update().values(expires_at=self._clock.now() + TTL_SECONDS))

    @property
    def held(self) -> bool:
        """Whether nothing is known that forbids this process to write."""
        try:
            self._permitted()
        except StaleError:
            return False
        return not self.lost.is_set()

    def _permitted(self) -> None:
        try:
            self._allowed()
        except StaleError:
            self.lost.set()
            raise

    def check(self, connection: Connection) -> None:
        """Fails the transaction, which it begins, if a later holder has taken over or this process may write no more.

        Raises:
            StaleError: The lease was lost; nothing of the transaction stays.
        """
        self._permitted()
        # SQLite takes its write lock at the first write: nobody can take the lease after this.
        if not connection.exec_driver_sql(_TOUCH, {"held": self.fence}).rowcount:
            self.lost.set()
            raise StaleError(
                "another writer took over this state, so this one stops",
                hint="this happens when the process was paused for longer than its lease; run it again",
            )

    def release(self) -> None:
        """Gives the lease back; safe to call twice.

        Where it cannot be written, as on a full disk, the lease ends by itself: its holder's process is gone, or its
        time runs out.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with suppress(SQLAlchemyError), self._engine.begin() as connection:
            connection.execute(lease.update().where(lease.c.holder == self._holder).values(expires_at=0.0))
