"""JSON lines over a stream socket, for both ends of the control sockets."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST_LINE = 16 * 1024 * 1024


def encode(message: dict[str, Any]) -> bytes:
    """One message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Lines:
    """Cuts a byte stream into messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are now whole; lines that are not JSON objects are left out.

        Raises:
            ValueError: A line is longer than `LONGEST_LINE` bytes.
        """
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > LONGEST_LINE:
            raise ValueError("line too long")
        messages: list[dict[str, Any]] = []
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                messages.append(message)  # pyright: ignore[reportUnknownArgumentType]
        return messages


def connect(path: str, timeout: float) -> socket.socket:
    """A connection to a supervisor's control socket.

    Raises:
        OSError: Nobody answers there (ConnectionRefusedError, FileNotFoundError) or not in time (TimeoutError).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def borrow(path: str, message: dict[str, Any], timeout: float) -> tuple[dict[str, Any], socket.socket | None]:
    """Sends one command; its answer, and the socket that came with it, if one did.

    Raises:
        OSError: As `ask`.
    """
    with connect(path, timeout) as connection:
        connection.sendall(encode(message))
        lines = Lines()
        lent: socket.socket | None = None
        while True:
            data, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
            for descriptor in descriptors:
                lent = socket.socket(fileno=descriptor)
            if not data:
                raise ConnectionResetError("the supervisor went away before it answered")
            for answer in lines.feed(data):
                return answer, lent


def ask(path: str, message: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Sends one command and returns its answer.

    Raises:
        OSError: As `connect`; ConnectionResetError if the other end goes away before it answers.
    """
    with connect(path, timeout) as connection:
        connection.sendall(encode(message))
        lines = Lines()
        while True:
            data = connection.recv(65536)
            if not data:
                raise ConnectionResetError("the supervisor went away before it answered")
            for answer in lines.feed(data):
                return answer
