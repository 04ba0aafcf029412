"""Ways to pods from this machine: a socket that only this user can open, behind it the API's port-forwarding.

A service's key goes in the request, the cluster's credentials in the connection, so that neither is seen by the other:
the API's own proxy would take the key for its own and drop it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from reconciler.core.dataclass import dataclass
from reconciler.core.driver import Address
from reconciler.core.errors import TargetError
from reconciler.core.resources import ResourceId
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import PORT, Place

_CHUNK = 65536
_REFUSAL = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"


@dataclass(frozen=True, slots=True)
class _Way:
    listener: socket.socket
    path: Path
    pod: str


class Forwards:
    """One way a resource, to the pod it was last asked for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ways: dict[ResourceId, _Way] = {}
        self._folder: Path | None = None
        self._lock = threading.Lock()

    def to(self, resource: ResourceId, pod: str) -> Address:
        """Where a pod answers.

        Raises:
            TargetError: There is no way to it, as where this user may not forward ports.
        """
        # What the first request met would look like an answer of the service.
        _end(self._cluster.tunnel(Place.of(resource.name).namespace, pod, PORT))
        with self._lock:
            way = self._ways.get(resource)
            if way is None or way.pod != pod:
                if way is not None:
                    _close(way)
                way = self._ways[resource] = self._open(resource, pod)
        return Address(f"http://{Place.of(resource.name).name}", uds=str(way.path))

    def end(self, resource: ResourceId) -> None:
        """Closes the way to a resource, if there is one."""
        with self._lock:
            way = self._ways.pop(resource, None)
        if way is not None:
            _close(way)

    def close(self) -> None:
        """Closes all ways."""
        with self._lock:
            ways, self._ways = list(self._ways.values()), {}
            folder, self._folder = self._folder, None
        for way in ways:
            _close(way)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _open(self, resource: ResourceId, pod: str) -> _Way:
        if self._folder is None:
            # Mode 0700, and short: a socket's path may have about a hundred bytes.
            self._folder = Path(tempfile.mkdtemp(prefix="rec-"))
        path = self._folder / f"{len(list(self._folder.iterdir()))}-{pod[-5:]}.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(16)
        namespace = Place.of(resource.name).namespace
        threading.Thread(target=self._serve, args=(listener, namespace, pod), daemon=True).start()
        return _Way(listener, path, pod)

    def _serve(self, listener: socket.socket, namespace: str, pod: str) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(near, namespace, pod), daemon=True).start()

    def _relay(self, near: socket.socket, namespace: str, pod: str) -> None:
        with near:
            try:
                tunnel = self._cluster.tunnel(namespace, pod, PORT)
            except TargetError as error:
                _refuse(near, error.message)
                return
            far: Any = tunnel.socket(PORT)
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join()
            far.close()
            _end(tunnel)


def _end(tunnel: Any) -> None:
    with contextlib.suppress(Exception):
        tunnel.close()


def _refuse(near: socket.socket, why: str) -> None:
    """Answers once there is a question: what is closed with something unread is reset, and the answer lost."""
    with contextlib.suppress(OSError):
        near.recv(_CHUNK)
        body = f"{why}\n".encode()
        near.sendall(f"{_REFUSAL}content-length: {len(body)}\r\n\r\n".encode() + body)
        near.shutdown(socket.SHUT_WR)
        while near.recv(_CHUNK):
            pass


def _pump(source: Any, sink: Any) -> None:
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _close(way: _Way) -> None:
    with contextlib.suppress(OSError):
        way.listener.shutdown(socket.SHUT_RDWR)
    way.listener.close()
    way.path.unlink(missing_ok=True)
