"""The other side of the process boundary: a small program that keeps to the scoring runtime's protocol.

It is run as `python -m reconciler.serving` from a folder of its own. It calls the entry script's `init()` and answers
each request with what `run(body)` returns, as text.
"""

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path


class Server:
    def __init__(self, given):
        self.given = given
        self.draining = False
        self.connections = set()
        self.tasks = set()
        self.done = asyncio.Event()
        self.public = None
        self.control = socket.socket(fileno=given.control_fd)
        self.keys = set()
        self.read_keys()

    def tell(self, event, **fields):
        with contextlib.suppress(OSError):
            self.control.send(json.dumps({"event": event, **fields}).encode() + b"\n")

    def read_keys(self):
        if self.given.keys_file:
            self.keys = {key["sha256"] for key in json.loads(Path(self.given.keys_file).read_text())["keys"]}

    async def run(self):
        self.tell("starting")
        await asyncio.start_unix_server(self.serve, self.given.uds)
        spec = importlib.util.spec_from_file_location("entry_module", Path(self.given.source_dir) / self.given.entry)
        self.script = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(self.script)
            await asyncio.to_thread(self.script.init)
        except Exception as error:
            traceback.print_exc()
            self.tell("failed", reason=f"init() failed: {type(error).__name__}: {error}", detail="")
            return 3
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.drain)
        self.tell("ready", init_seconds=0.0)
        self.orders = asyncio.create_task(self.listen())
        await self.done.wait()
        return 0

    async def listen(self):
        reader, self.writer = await asyncio.open_connection(sock=self.control)
        while line := await reader.readline():
            match json.loads(line)["do"]:
                case "accept":
                    self.public = socket.socket(fileno=self.given.fd)
                    self.public.setblocking(False)
                    asyncio.get_running_loop().add_reader(self.public, self.accept)
                    self.tell_async("accepting")
                case "drain":
                    self.drain()
                case "reload-keys":
                    self.read_keys()
        self.drain()

    def tell_async(self, event):
        self.writer.write(json.dumps({"event": event}).encode() + b"\n")

    def drain(self):
        if not self.draining:
            self.draining = True
            if self.public:
                asyncio.get_running_loop().remove_reader(self.public)
                self.public.close()
            self.tell_async("draining")
            self.ending = asyncio.create_task(self.finish())

    async def finish(self):
        await asyncio.sleep(0.2)
        while self.connections or self.tasks:
            await asyncio.sleep(0.01)
        self.tell_async("drained")
        await self.writer.drain()
        self.done.set()

    def accept(self):
        # Not asyncio's server: closing that drops connections it accepted a moment before.
        try:
            connection, _ = self.public.accept()
        except BlockingIOError:
            return
        task = asyncio.create_task(self.welcome(connection))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def welcome(self, connection):
        await self.serve(*await asyncio.open_connection(sock=connection))

    async def serve(self, reader, writer):
        self.connections.add(writer)
        try:
            while await self.answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            self.connections.discard(writer)
            writer.close()

    async def answer(self, reader, writer):
        waiting = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        idle = 0.0
        while not (await asyncio.wait([waiting], timeout=0.1))[0]:
            idle += 0.1
            if self.draining and idle > 0.5:
                waiting.cancel()
                return False
        head = waiting.result().decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        key = fields.get("authorization", "").removeprefix("bearer ")
        if self.keys and hashlib.sha256(key.encode()).hexdigest() not in self.keys:
            status, answer = 401, b"no"
        else:
            status, answer = 200, str(await asyncio.to_thread(self.script.run, body.decode())).encode()
        end = self.draining or fields.get("connection") == "close"
        last = "Connection: close\r\n" if end else ""
        writer.write(f"HTTP/1.1 {status} x\r\n{last}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)
        await writer.drain()
        return not end


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("entry", "source-dir", "uds", "keys-file"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--control-fd", type=int)
    given, _ = parser.parse_known_args()

    async def run():
        return await Server(given).run()

    code = asyncio.run(run())
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
