"""What the engine streams: the logs of containers, and the events of a target's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from reconciler.containers.engine import Engine
from reconciler.targets.local.docker.config import LABEL_TARGET
from reconciler.targets.local.docker.look import Container

EVENTS = ("die", "oom", "stop", "pause", "unpause", "rename", "destroy", "update", "health_status", "start", "kill")

# Reads the last lines of a container's log.
Tail = Callable[[Container, int], list[str]]


class Streams:
    """Reads from one engine.

    Args:
        target: Name of the target whose containers are meant.
    """

    def __init__(self, engine: Engine, target: str) -> None:
        self._engine = engine
        self._target = target
        self._since = ""

    def tail(self, container: Container, lines: int) -> list[str]:
        """The last lines of a container's log."""
        with self._engine.calls("reading a log"):
            data = cast("bytes", self._engine.api.logs(container.id, tail=lines))
        return [line for line in data.decode(errors="replace").splitlines() if line][-lines:]

    def follow(self, container: Container, lines: int, stop: threading.Event) -> Iterator[str]:
        """The last lines of a container's log and those that come, until told to stop or it ends."""
        with self._engine.calls("reading a log"):
            stream = self._engine.api.logs(container.id, tail=lines, follow=True, stream=True)
        threading.Thread(target=_close_when, args=(stop, stream), daemon=True).start()
        rest = b""
        for chunk in stream:
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)

    def events(self, stop: threading.Event) -> Iterator[str]:
        """What happens to the target's containers, in words; ends when told to stop, or with the connection.

        Called again after that, it begins with what happened meanwhile, as far as the engine remembers.

        Raises:
            UnavailableError: The engine does not answer.
        """
        filters = {"type": "container", "label": f"{LABEL_TARGET}={self._target}", "event": list(EVENTS)}
        with self._engine.calls("watching events"):
            again, since = bool(self._since), self._since or f"{self._engine.now():.6f}"
            stream = self._engine.api.events(decode=True, filters=filters, since=since)
        self._since = since
        threading.Thread(target=_close_when, args=(stop, stream), daemon=True).start()
        if again:
            yield "container engine: it answers again"
        with self._engine.calls("watching events"):
            for event in stream:
                if stop.is_set():
                    return
                said = cast("Mapping[str, Any]", event)
                self._since = _after(int(said["timeNano"]))
                yield f"{said['Actor']['Attributes'].get('name', '')}: {said['Action']}"


def _after(nanoseconds: int) -> str:
    """The moment after one, as the engine takes it: seconds and nine digits."""
    seconds, rest = divmod(nanoseconds + 1, 1_000_000_000)
    return f"{seconds}.{rest:09d}"


def _close_when(stop: threading.Event, stream: Any) -> None:
    stop.wait()
    stream.close()
