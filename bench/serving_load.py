"""A load generator for where wrk is missing: `python -m bench.serving_load PORT SECONDS CONNECTIONS < request`.

Sends the request from standard input over kept connections, one after the other on each, and prints answers per second
and how many were not 200. It is slower than wrk, which lowers ratios on small machines.
"""

from __future__ import annotations

import asyncio
import sys
import time


class Client(asyncio.Protocol):
    """One connection; opens itself again where the server closes it."""

    def __init__(self, port: int, request: bytes, counts: dict[bytes, int]) -> None:
        self.port, self.request, self.counts = port, request, counts
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        status = head[9:12]
        self.counts[status] = self.counts.get(status, 0) + 1
        self.buffer = b""
        if b"connection: close" not in head.lower():
            self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.task = asyncio.ensure_future(connect(self))


async def connect(client: Client) -> None:
    """Open a client's connection."""
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", client.port)


async def main(port: int, seconds: float, connections: int) -> None:
    """Send load and print what came of it."""
    request, counts = sys.stdin.buffer.read(), dict[bytes, int]()
    began = time.perf_counter()
    await asyncio.gather(*(connect(Client(port, request, counts)) for _ in range(connections)))
    await asyncio.sleep(seconds)
    good = counts.pop(b"200", 0)
    print(f"{good / (time.perf_counter() - began):.1f} {sum(counts.values())}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
