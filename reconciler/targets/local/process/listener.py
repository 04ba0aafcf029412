"""The socket that a service's clients connect to. The supervisor owns it; workers inherit it and accept when told.

The port is taken when a version is staged, so that a conflict shows before anything else is done, and opened only
when the first version is promoted. SO_REUSEPORT is never set: two owners of one port would share its connections.

Binding is exclusive (no SO_REUSEADDR): on Linux two sockets that both set SO_REUSEADDR and do not listen may hold
one port (socket(7)). Only if that fails it is tried with SO_REUSEADDR, which passes over connections of an earlier
run in TIME_WAIT but not over another listener. The option is set before listening in any case, since accepted
connections inherit it and would otherwise keep the port from the next run for a minute.
"""

# No pathlib: it would cost each supervisor a megabyte.
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import errno
import os
import socket

_BACKLOG = 1024


class PortError(Exception):
    """The address cannot be had; the message says who has it, where that can be known."""


class Listener:
    """A bound socket that accepts once `open` was called."""

    __slots__ = ("host", "opened", "port", "socket")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.opened = False
        self.socket = _bound(host, port)
        self.port: int = self.socket.getsockname()[1]

    @classmethod
    def taken_over(cls, host: str, lent: socket.socket) -> Listener:
        """A socket that another service's supervisor listens on, too: connections go to whoever accepts them."""
        listener = cls.__new__(cls)
        lent.setblocking(False)
        listener.host, listener.opened, listener.socket = host, True, lent
        listener.port = lent.getsockname()[1]
        return listener

    def open(self) -> None:
        """Accepts connections from now on.

        Raises:
            PortError: Another one listens there.
        """
        if self.opened:
            return
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.listen(_BACKLOG)
        except OSError as error:
            raise PortError(_message(self.host, self.port, error)) from None
        self.opened = True

    def close(self) -> None:
        """Lets the port go, as far as this process holds it."""
        self.socket.close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise PortError(f"host {host} is not an address of this machine: {error.strerror or error}") from None
    failure: OSError | None = None
    for reuse in (0, 1):
        attempt = socket.socket(family, socket.SOCK_STREAM)
        try:
            attempt.setblocking(False)
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            if family == socket.AF_INET6:
                attempt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            attempt.bind(address)
        except OSError as error:
            attempt.close()
            failure = error
        else:
            return attempt
    raise PortError(_message(host, port, failure)) from None


def _message(host: str, port: int, error: OSError | None) -> str:
    if error is not None and error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by {owner_of(port) or 'another program'}"
    if error is not None and error.errno == errno.EACCES:
        return f"port {port} of {host} is below those that this user may take"
    what = f"port {port} of {host}" if port else f"a port of {host}"
    return f"{what} cannot be had: {error.strerror if error else 'unknown'}"


def owner_of(port: int) -> str:
    """Who listens on a TCP port, as `pid 123 (nginx)`; empty if this user cannot see it. Linux only (proc(5))."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = file.readlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            # st 0A is TCP_LISTEN; 07 (TCP_CLOSE) is bound and not yet listening.
            if fields[1].rsplit(":", 1)[1] == f"{port:04X}" and fields[3] in ("0A", "07"):
                inodes.add(f"socket:[{fields[9]}]")
    return _process_with(inodes) if inodes else ""


def _process_with(links: set[str]) -> str:
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            for fd in os.scandir(f"/proc/{pid}/fd"):
                if os.readlink(fd.path) in links:
                    with open(f"/proc/{pid}/comm") as file:
                        return f"pid {pid} ({file.read().strip()})"
        except OSError:
            continue
    return ""
