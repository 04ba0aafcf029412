"""What a worker listens on."""

from __future__ import annotations

import asyncio
import socket

from reconciler.serving.listeners import Listeners
from reconciler.serving.settings import Listen


class Kept(asyncio.Protocol):
    """A connection that somebody has."""

    def __init__(self, made: list[asyncio.BaseTransport]) -> None:
        self.made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Writes it down."""
        self.made.append(transport)


def test_what_was_taken_from_the_kernel_is_kept_when_listening_ends() -> None:
    """It is no connection of the loop yet, and would be reset."""
    made: list[asyncio.BaseTransport] = []

    async def turns() -> bytes:
        owned = socket.create_server(("127.0.0.1", 0))
        address = owned.getsockname()
        listeners = Listeners(Listen(port=None, fd=owned.detach()), lambda: Kept(made), None, 0.0)
        await listeners.accept()
        with socket.create_connection(address) as client:
            # One turn in which the loop sees it, one in which it takes it.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await listeners.stop()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(made) == 1
            made[0].close()
            await asyncio.sleep(0)
            return client.recv(1)

    assert asyncio.run(turns()) == b""
