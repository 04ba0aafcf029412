"""How a docker client's connections are made where the docker package's own way does not do: sockets and commands."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool

from reconciler.core.errors import TargetError

# Nothing is looked up by it: the connections all lead to one engine.
_ENGINE = "http+docker://engine"


class Dialled(Protocol):
    """A connection to an engine."""

    socket: socket.socket

    def ended(self) -> TargetError | None:
        """Why it ended before there was an answer, if more is known than that it did."""
        ...


# Makes a connection that times out after so many seconds; None for never.
Dial = Callable[[float | None], Dialled]


class Adapter(UnixHTTPAdapter):
    """Carries a docker client's requests over connections that are dialled."""

    def __init__(self, dial: Dial, timeout: int, max_pool_size: int) -> None:
        self._dial = dial
        super().__init__("http+unix://dialled", timeout=timeout, max_pool_size=max_pool_size)

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """The pool of this engine's connections: one for all paths, which are kept and used again."""
        own = cast("Any", self)
        with own.pools.lock:
            pool = own.pools.get(_ENGINE)
            if pool is None:
                pool = own.pools[_ENGINE] = _Pool(self._dial, _ENGINE, own.timeout, own.max_pool_size)
            return pool


class _Pool(UnixHTTPConnectionPool):
    def __init__(self, dial: Dial, url: str, timeout: int, maxsize: int) -> None:
        super().__init__(url, "", timeout, maxsize)
        self._dial = dial

    def _new_conn(self) -> Any:
        own = cast("Any", self)
        return _Connection(self._dial, own.base_url, own.timeout)


class _Connection(UnixHTTPConnection):
    def __init__(self, dial: Dial, url: str, timeout: Any) -> None:
        super().__init__(url, "", timeout)
        self._dial = dial
        self._dialled: Dialled | None = None

    def connect(self) -> None:
        """Dials.

        Raises:
            OSError, TargetError: Nobody answers.
        """
        self._dialled = self._dial(cast("Any", self).timeout)
        self.sock = self._dialled.socket

    def getresponse(self) -> Any:
        """The answer.

        Raises:
            TargetError: The connection ended before there was one, for a reason that is known.
        """
        try:
            return super().getresponse()
        except ConnectionError as error:
            reason = self._dialled.ended() if self._dialled is not None else None
            if reason is None:
                raise
            raise reason from error


class UnixSocket:
    """A connection to a socket in the file system; the docker package's own leaves one open that nobody takes."""

    def __init__(self, path: str, timeout: float | None) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def ended(self) -> None:
        """Nothing more is known."""
        return
