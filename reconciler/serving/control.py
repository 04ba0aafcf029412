"""Talks to the supervisor over an inherited socket, one JSON object per line each way.

To the supervisor: `{"event": "starting" | "listening" | "ready" | "failed" | "accepting" | "draining" | "drained" |
"stuck" | "recovered", …}`; stuck means that every `run()` is over its time limit.
From it: `{"do": "accept"}` (take connections from the shared listening socket), `{"do": "drain"}` (stop taking them,
finish what is under way, exit 0), `{"do": "reload-keys"}`. End of file means that the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, cast

from .errors import StartError

logger = logging.getLogger("reconciler.serving")


class Control:
    """One end of the control socket, in the event loop. Without a descriptor, it says and hears nothing."""

    def __init__(self, fd: int | None, orders: Mapping[str, Callable[[], None]], lost: Callable[[], None]) -> None:
        self._fd = fd
        self._orders = orders
        self._lost = lost
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open the socket and begin to listen to orders. Raises StartError where there is no socket."""
        if self._fd is None:
            return
        try:
            os.set_inheritable(self._fd, False)
            sock = socket.socket(fileno=self._fd)
        except OSError as error:
            raise StartError(f"--control-fd {self._fd} is no socket: {error.strerror}", exit_code=4) from None
        sock.setblocking(False)
        reader, self._writer = await asyncio.open_connection(sock=sock)
        self._reading = asyncio.create_task(self._listen(reader))

    def tell(self, event: str, **fields: Any) -> None:
        """Send one event; what the supervisor does not read is kept in memory, for events are few."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps({"event": event, **fields}).encode() + b"\n")

    async def close(self) -> None:
        """Send what is left, within a second."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            try:
                await asyncio.wait_for(self._writer.drain(), 1.0)
                self._writer.close()
                await asyncio.wait_for(self._writer.wait_closed(), 1.0)
            except (OSError, TimeoutError):
                logger.debug("the supervisor did not take the last events")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._obey(line)
        except (OSError, ValueError) as error:
            logger.error("control socket failed: %s", error)
        self._lost()

    def _obey(self, line: bytes) -> None:
        try:
            message: Any = json.loads(line)
        except ValueError:
            message = None
        order = cast("dict[str, Any]", message).get("do") if isinstance(message, dict) else None
        action = self._orders.get(order) if isinstance(order, str) else None
        if action is None:
            logger.error("control message not understood: %.200r", line)
            return
        action()
