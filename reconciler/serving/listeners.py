"""The sockets that requests come from: a TCP address, a private Unix socket, an inherited listening socket."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from .errors import StartError
from .settings import Listen

BACKLOG = 2048
Factory = Callable[[], asyncio.Protocol]


def tls_context(listen: Listen) -> ssl.SSLContext | None:
    """The TLS context from the certificate and key files, or None where none are given."""
    if listen.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_certificate(context, listen)
    return context


def load_certificate(context: ssl.SSLContext, listen: Listen) -> None:
    """Read certificate and key into a context; connections made later use them. Raises StartError."""
    assert listen.tls_cert is not None
    try:
        context.load_cert_chain(listen.tls_cert, listen.tls_key)
    except (OSError, ssl.SSLError) as error:
        files = f"{listen.tls_cert}" + (f" with key {listen.tls_key}" if listen.tls_key else "")
        raise StartError(f"TLS certificate {files} cannot be used: {error.strerror or error}", exit_code=4) from None


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises StartError with what to do where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port, or stop what uses it",
            exit_code=4,
        ) from None
    return sock


def bind_uds(path: Path) -> socket.socket:
    """A listening Unix socket that only this user can open; a left-over socket file is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise StartError(f"cannot listen on Unix socket {path}: {error.strerror or error}", exit_code=4) from None
    return sock


def inherit(fd: int, *, held: bool = False) -> socket.socket:
    """The listening socket that a supervisor passed as descriptor `fd`.

    Args:
        held: It need not listen yet: a supervisor listens only once a version was promoted, so that nobody reaches
            an untested one.
    """
    try:
        sock = socket.socket(fileno=fd)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(f"--fd {fd} is no socket: {error.strerror}", exit_code=4) from None
    if not listening and not held:
        raise StartError(f"--fd {fd} is a socket that does not listen", exit_code=4)
    os.set_inheritable(fd, False)
    return sock


class Listeners:
    """The public and the private side of one worker. The private one (`uds`) stays open while the worker drains."""

    def __init__(self, listen: Listen, factory: Factory, context: ssl.SSLContext | None, handshake: float) -> None:
        self._factory = factory
        self._context = context
        self._handshake = None if context is None else max(handshake, 0.1)
        self._private = bind_uds(listen.uds) if listen.uds is not None else None
        self._public: list[socket.socket] = []
        if listen.port is not None:
            self._public.append(bind_tcp(listen.host, listen.port))
        if listen.fd is not None:
            self._public.append(inherit(listen.fd, held=listen.hold))
        self._uds = listen.uds
        self._servers: list[asyncio.Server] = []
        self._private_server: asyncio.Server | None = None
        self.accepting = False

    @property
    def address(self) -> str:
        """Where the public side listens, for people."""
        names = [sock.getsockname() for sock in self._public] or [str(self._uds)]
        name = names[0]
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)

    async def serve_private(self) -> None:
        """Begin to answer on the private socket."""
        if self._private is not None:
            loop = asyncio.get_running_loop()
            self._private_server = await loop.create_unix_server(self._factory, sock=self._private, backlog=BACKLOG)

    async def accept(self) -> None:
        """Begin to take connections from the public sockets."""
        if self.accepting:
            return
        self.accepting = True
        loop = asyncio.get_running_loop()
        for sock in self._public:
            make = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            self._servers.append(
                await make(
                    self._factory, sock=sock, ssl=self._context, backlog=BACKLOG, ssl_handshake_timeout=self._handshake
                )
            )

    async def stop(self) -> None:
        """Take no more connections from the public sockets. Those accepted stay."""
        loop = asyncio.get_running_loop()
        for sock in self._public:
            loop.remove_reader(sock)
        # asyncio makes what it has taken from the kernel a connection one turn later, and drops it if its server is
        # closed by then: `Server._attach` takes none (CPython 3.11, asyncio/base_events.py).
        await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        for sock in self._public:
            sock.close()
        self._servers.clear()

    def close(self) -> None:
        """Close the private side too, and remove its file."""
        if self._private_server is not None:
            self._private_server.close()
        if self._uds is not None:
            self._uds.unlink(missing_ok=True)
