"""Noticing at once that something ended: one held connection a supervisor, whose end is an event too."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event, Lock
from typing import Any

from reconciler.targets.local.process.layout import CONTROL, IDENTITY, read_json, sockets_folder
from reconciler.targets.local.process.wire import Lines, connect, encode

_LOOK_AT_STOP = 0.2  # seconds between looks at the stop event, which no selector can wait for


class Watch:
    """The connections of one watcher. `know` may be called from any thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._selector = selectors.DefaultSelector()
        self._connections: dict[str, socket.socket] = {}
        self._new: set[str] = set()
        self._lock = Lock()
        self._wake_reader, self._wake = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake, False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)

    def know(self, names: Iterable[str]) -> None:
        """Says which services there are; those that are not watched yet will be."""
        with self._lock:
            unknown = set(names) - self._connections.keys() - self._new
            self._new |= unknown
        if unknown:
            self._poke()

    def _poke(self) -> None:
        try:
            os.write(self._wake, b"x")
        except (BlockingIOError, OSError):
            return

    def events(self, stop: Event) -> Iterator[str]:
        """Yields `name: what happened` until `stop` is set."""
        _raise_descriptor_limit()
        with contextlib.suppress(OSError):
            self.know(path.name for path in self._root.iterdir() if not path.name.startswith("."))
        while not stop.is_set():
            for key, _ in self._selector.select(_LOOK_AT_STOP):
                if key.fd == self._wake_reader:
                    self._connect_new()
                else:
                    yield from self._read(key)

    def _connect_new(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 65536)
        with self._lock:
            # Told of again while it was being connected to, one is not connected to twice.
            names, self._new = self._new - self._connections.keys(), set()
        for name in names:
            began = time.time() - 0.001  # events are stamped to the millisecond
            try:
                folder = str(self._root / name)
                uid = str((read_json(f"{folder}/{IDENTITY}") or {}).get("uid", ""))
                connection = connect(f"{sockets_folder(folder, uid)}/{CONTROL}", 1.0)
            except (OSError, ValueError):
                continue
            try:
                connection.sendall(encode({"do": "watch", "uid": uid}))
            except OSError:
                connection.close()
                continue
            connection.setblocking(False)
            with self._lock:
                self._connections[name] = connection
            self._selector.register(connection, selectors.EVENT_READ, (name, Lines(), began))

    def _read(self, key: selectors.SelectorKey) -> Iterator[str]:
        name, lines, began = key.data
        connection = self._connections[name]
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            with self._lock:
                del self._connections[name]
            yield f"{name}: its supervisor ended"
            return
        for message in lines.feed(data):
            if "event" in message:
                yield f"{name}: {message['event']}"
            # The answer to `watch`: what happened while the supervisor had not read it yet was told to nobody.
            state: dict[str, Any] = message.get("state") or {}
            for event in state.get("events", ()):
                if event["at"] >= began:
                    yield f"{name}: {event['text']}"

    def close(self) -> None:
        """Closes all connections."""
        for connection in self._connections.values():
            connection.close()
        self._selector.close()
        os.close(self._wake_reader)
        os.close(self._wake)


def _raise_descriptor_limit() -> None:
    """One descriptor a service: the usual soft limit of 1024 is for programs that use select(2), which this is not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return
