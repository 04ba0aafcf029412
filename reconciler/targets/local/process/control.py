"""The supervisor's control socket: commands in, answers out, and a stream of events for those who watch."""

# No pathlib: it would cost each supervisor a megabyte.
# ruff: noqa: PTH101, PTH108

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys

from reconciler.targets.local.process.layout import CONTROL
from reconciler.targets.local.process.loop import READ, WRITE, Loop
from reconciler.targets.local.process.service import Refused, Service
from reconciler.targets.local.process.wire import Lines, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_UNSENT = 1024 * 1024


class Control:
    """Accepts connections of this user on the control socket of a folder."""

    def __init__(self, loop: Loop, sockets: str) -> None:
        self._loop = loop
        self._service: Service | None = None
        self._connections: set[Connection] = set()
        path = f"{sockets}/{CONTROL}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        os.chmod(path, 0o600)
        self._socket.setblocking(False)
        self._socket.listen(64)
        loop.add(self._socket.fileno(), self._accept)

    def serve(self, service: Service) -> None:
        """Carries out commands on a service from now on."""
        self._service = service

    def announce(self, text: str) -> None:
        """Tells everyone who watches."""
        for connection in list(self._connections):
            if connection.watching:
                connection.send({"event": text})

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        if _same_user(connection):
            self._connections.add(Connection(self._loop, connection, self))
        else:
            connection.close()

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)

    def lend(self, message: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
        """The answer to a service that takes this one's place, and the socket that clients connect to, if it fits."""
        service = self._service
        if service is None or message.get("uid") != service.identity["uid"]:
            return {"error": "conflict", "message": "this supervisor keeps another service"}, None
        listener = service.lend(str(message.get("host")), message.get("port"))
        if listener is None:
            return {"error": "port", "message": "this service does not answer there"}, None
        return {"ok": True, "port": listener.port}, listener.socket.fileno()

    def carry_out(self, connection: Connection, message: dict[str, Any]) -> dict[str, Any]:
        """One command; its answer."""
        service = self._service
        if service is None:
            return {"error": "busy", "message": "the supervisor is starting"}
        if message.get("uid") != service.identity["uid"]:
            return {"error": "conflict", "message": "this supervisor keeps another service"}
        try:
            match message.get("do"):
                case "status":
                    pass
                case "watch":
                    connection.watching = True
                case "stage":
                    service.stage(message["version"], message.get("promote"))
                case "promote":
                    service.promote(message["specDigest"], message["mark"])
                case "discard":
                    service.discard()
                case "amend":
                    service.amend(
                        message["mark"], message["spec"], message.get("keys"), message["specDigest"], message["id"]
                    )
                case "stop":
                    service.stop(float(message["drainSeconds"]), remove=bool(message["remove"]), why=message["why"])
                case other:
                    return {"error": "unknown", "message": f"no command {other!r}"}
        except Refused as error:
            return {"error": error.code, "message": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            return {"error": "invalid", "message": f"malformed command: {error!r}"}
        except OSError as error:
            return {"error": "disk", "message": str(error)}
        return {"ok": True, "identity": service.identity, "state": service.state()}


class Connection:
    """One client. What it does not read fast enough is dropped with it, so that nobody can stall the supervisor."""

    def __init__(self, loop: Loop, connection: socket.socket, control: Control) -> None:
        self.watching = False
        self._loop = loop
        self._socket = connection
        self._control = control
        self._lines = Lines()
        self._unsent = b""
        connection.setblocking(False)
        loop.add(connection.fileno(), self._ready)

    def send(self, message: dict[str, Any]) -> None:
        """Queues a message."""
        self._unsent += encode(message)
        if len(self._unsent) > _MOST_UNSENT + 16 * 1024 * 1024:
            self._close()
        else:
            self._flush()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close()
            return
        self._unsent = self._unsent[sent:]
        self._loop.want(self._socket.fileno(), self._ready, READ | WRITE if self._unsent else READ)

    def _ready(self) -> None:
        if self._unsent:
            self._flush()
            if self._socket.fileno() < 0:
                return
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        try:
            messages = self._lines.feed(data)
        except ValueError:
            self._close()
            return
        for message in messages:
            if message.get("do") == "lend":
                self._lend(message)
            else:
                self.send(self._control.carry_out(self, message))
            if self._socket.fileno() < 0:
                return

    def _lend(self, message: dict[str, Any]) -> None:
        answer, descriptor = self._control.lend(message)
        if descriptor is None:
            self.send(answer)
            return
        try:
            # So short a line fits into the buffer of a socket on which nothing else was sent yet.
            socket.send_fds(self._socket, [encode(answer)], [descriptor])
        except OSError:
            self._close()

    def _close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
        self._control.forget(self)


def _same_user(connection: socket.socket) -> bool:
    """Whether the other end runs as this user or root. The folder's mode says so already; this is the second lock."""
    if sys.platform != "linux":
        return True
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (0, os.getuid())
