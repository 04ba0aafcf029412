"""A streamed answer on its way from the run thread to the client, with bounded memory in between."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Final

logger = logging.getLogger("reconciler.serving")

BUFFER: Final = 1024 * 1024


class BrokenStream(Exception):
    """The script failed in the middle of its answer: the connection has to be cut, so that the client knows."""


class Channel(Iterator[bytes]):
    """Chunks put in by the run thread, taken out by the event loop.

    The run thread waits while `BUFFER` bytes are unsent, but no longer than `stall` seconds: then the client gets
    cut off, so that one that does not read cannot hold `run()` for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stall: float) -> None:
        self._loop = loop
        self._stall = stall
        self._chunks: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._space = threading.Condition()
        self._held = 0
        self._closed = False

    def __next__(self) -> bytes:
        raise TypeError("a channel is read with `get`, in the event loop")

    def feed(self, chunks: Iterator[bytes], close: Callable[[], None] | None, request_id: bytes) -> None:
        """Send every chunk; called in the run thread. Never raises on what the script's iterator does."""
        end: BaseException | None = None
        try:
            for chunk in chunks:
                if chunk and not self._put(chunk):
                    break
        except BaseException as error:
            end = error
            fields = {"request_id": request_id.decode("latin-1")}
            logger.exception("the streamed answer of run() failed", extra={"fields": fields})
        finally:
            try:
                if close is not None:
                    close()
            except Exception:
                logger.exception("closing the streamed answer of run() failed")
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, end)

    async def get(self) -> bytes | None:
        """The next chunk, or None at the end. Raises BrokenStream if the script failed."""
        item = await self._chunks.get()
        if isinstance(item, BaseException):
            raise BrokenStream
        if item is not None:
            with self._space:
                self._held -= len(item)
                self._space.notify()
        return item

    def close(self) -> None:
        """The client is gone: let the run thread stop."""
        with self._space:
            self._closed = True
            self._space.notify()

    def _put(self, chunk: bytes) -> bool:
        with self._space:
            room = self._space.wait_for(lambda: self._closed or self._held < BUFFER, self._stall)
            if not room or self._closed:
                if not room:
                    logger.warning("a client did not read its streamed answer for %.0f s and was cut off", self._stall)
                    raise TimeoutError("the client does not read its answer")
                return False
            self._held += len(chunk)
        self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
        return True
