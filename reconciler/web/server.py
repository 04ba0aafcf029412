"""A small web server in a thread of its own, on loopback: it reads the daemon's board and takes no orders."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from reconciler.core.errors import InvalidError

START_SECONDS = 10.0
STOP_SECONDS = 5.0
CONCURRENT_REQUESTS = 64


class WebServer:
    """Serves an application until it is closed.

    Args:
        listen: `host:port`, IPv6 hosts in brackets; port 0 takes a free one.

    Raises:
        InvalidError: The address cannot be had.
    """

    def __init__(self, app: ASGIApp, listen: str) -> None:
        self._socket = bind(listen)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=CONCURRENT_REQUESTS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="web", daemon=True
        )
        self._thread.start()
        limit = time.monotonic() + START_SECONDS
        while not self._server.started and self._thread.is_alive() and time.monotonic() < limit:
            self._thread.join(0.005)

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Stops it; safe to call twice."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._socket.close()


def bind(listen: str) -> socket.socket:
    """A listening socket.

    Raises:
        InvalidError: The address is no address, is taken, or is not this machine's.
    """
    host, _, text = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not text.isdecimal() or int(text) > 65535:
        raise InvalidError(f"{listen!r} is not an address to listen on", hint="write host:port, as 127.0.0.1:9464")
    try:
        found = socket.getaddrinfo(host, int(text), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        raise InvalidError(f"the host in {listen!r} is not known: {exc.strerror}") from exc
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as exc:
        listener.close()
        raise _refused(listen, exc) from exc
    return listener


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach the address."""
    host = listen.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refused(listen: str, exc: OSError) -> InvalidError:
    reasons = {
        errno.EADDRINUSE: ("something else listens there", "stop it, or choose another address with daemon.listen"),
        errno.EACCES: ("this user may not listen on that port", "choose a port above 1023 with daemon.listen"),
        errno.EADDRNOTAVAIL: ("it is not an address of this machine", "choose one of its own with daemon.listen"),
    }
    reason, hint = reasons.get(exc.errno or 0, (exc.strerror or "it cannot be had", "set daemon.listen"))
    return InvalidError(f"cannot listen on {listen}: {reason}", hint=hint)
