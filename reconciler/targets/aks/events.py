"""Watches on everything of ours: hints that something changed, never facts."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from reconciler.core.errors import TargetError
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import Kind
from reconciler.targets.aks.parts import part
from reconciler.targets.aks.refusals import ExpiredError

_AGAIN_SECONDS = 5.0
# A watch that tells nothing and ends within the first is begun again after a pause, which grows: something between
# here and the API may take watches and end them at once.
_AT_ONCE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
# The first event is told at once, what follows so soon after it together; for longer while many come.
_GATHER_SECONDS = 0.1
_GATHER_LONGEST_SECONDS = 0.5
# How lines begin that are about the watch, and no object.
_OF_THE_WATCH = ('{"type":"BOOKMARK"', '{"type":"ERROR"')


class Watching:
    """One watch a kind and namespace, begun anew whenever it ends.

    Args:
        selector: What is watched, wherever `also` says.
    """

    def __init__(self, cluster: Cluster, selector: str) -> None:
        self._cluster = cluster
        self._selector = selector
        # What is watched, by kind and namespace; and what ends it, once anybody listens.
        self._watched: set[tuple[str, str]] = set()
        self._waiting: list[tuple[Kind, str]] = []
        self._stop: threading.Event | None = None
        self._lock = threading.Lock()
        # What was heard: of which kind, the API's line, or words of our own.
        self._heard: queue.SimpleQueue[tuple[Kind | None, str]] = queue.SimpleQueue()
        self._ends: dict[tuple[str, str], Callable[[], None]] = {}

    def also(self, namespaces: Iterable[str], kinds: Iterable[Kind]) -> None:
        """Watches these, too, from now on; what is watched already goes on being so."""
        asked = [(kind, namespace) for namespace in namespaces for kind in kinds]
        with self._lock:
            new = [(kind, namespace) for kind, namespace in asked if (kind.name, namespace) not in self._watched]
            self._watched |= {(kind.name, namespace) for kind, namespace in new}
            self._waiting += new
        self._begin()

    def until(self, stop: threading.Event) -> Iterator[str]:
        """Yields a few words until `stop` is set: of one event, and how many more came before it was taken."""
        with self._lock:
            self._stop = stop
        self._begin()
        threading.Thread(target=self._end, args=(stop,), daemon=True).start()
        pause = _GATHER_SECONDS
        while not stop.is_set():
            heard = [self._heard.get()]
            while not self._heard.empty():
                heard.append(self._heard.get())
            # One is read for its words, the others are only counted: a run of ours causes thousands.
            words = next((told for kind, line in heard if (told := self._words(kind, line))), "")
            if words:
                yield words if len(heard) == 1 else f"{words}, and {len(heard) - 1} more"
                pause = min(2.0 * pause, _GATHER_LONGEST_SECONDS) if len(heard) > 1 else _GATHER_SECONDS
                stop.wait(pause)

    def _begin(self) -> None:
        with self._lock:
            stop = self._stop
            if stop is None:
                return
            begun, self._waiting = self._waiting, []
        for kind, namespace in begun:
            threading.Thread(target=self._listen, args=(kind, namespace, stop), daemon=True).start()

    def _words(self, kind: Kind | None, line: str) -> str:
        """What a line tells; nothing where it tells nothing of an object."""
        if kind is None:
            return line
        try:
            event = self._cluster.event(line)
        except TargetError:
            return ""  # whoever listens begins anew, and says so
        if event.get("type") in (None, "BOOKMARK"):
            return ""
        return f"{kind.name} {part(event, 'object', 'metadata').get('name', '')}: {str(event['type']).lower()}"

    def _listen(self, kind: Kind, namespace: str, stop: threading.Event) -> None:
        since = ""
        futile = 0
        while not stop.is_set():
            began, told = time.monotonic(), False
            try:
                # What changed between a look and this is found by the next look.
                since = since or self._cluster.version_now(kind, namespace, self._selector)
                last = ""
                for last in self._cluster.watch(kind, namespace, self._selector, since, self._opened(kind, namespace)):
                    if not last.startswith(_OF_THE_WATCH):
                        told = True
                        self._heard.put((kind, last))
                    if stop.is_set():
                        return
                if last:
                    since = str(part(self._cluster.event(last), "object", "metadata").get("resourceVersion") or since)
            except ExpiredError:
                since = ""
                self._heard.put((None, f"{kind.name}: the watch began anew"))
            except TargetError:
                since = ""
                stop.wait(_AGAIN_SECONDS)
                continue
            futile = 0 if told or time.monotonic() - began >= _AT_ONCE_SECONDS else futile + 1
            if futile > 1:
                stop.wait(min(_AT_ONCE_SECONDS * 2.0 ** (futile - 2), _LONGEST_PAUSE_SECONDS))

    def _opened(self, kind: Kind, namespace: str) -> Callable[[Callable[[], None]], None]:
        def opened(end: Callable[[], None]) -> None:
            self._ends[(kind.name, namespace)] = end

        return opened

    def _end(self, stop: threading.Event) -> None:
        stop.wait()
        for end in list(self._ends.values()):
            end()
        self._heard.put((None, ""))
