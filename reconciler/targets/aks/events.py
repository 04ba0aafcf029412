"""Watches on everything of ours: hints that something changed, never facts."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from reconciler.core.errors import TargetError
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import Kind
from reconciler.targets.aks.parts import part
from reconciler.targets.aks.refusals import ExpiredError

_AGAIN_SECONDS = 5.0
# The first event is told at once, what follows so soon after it together; for longer while many come.
_GATHER_SECONDS = 0.1
_GATHER_LONGEST_SECONDS = 0.5


class Watching:
    """One watch a kind and namespace, begun anew whenever it ends.

    Args:
        selector: What is watched.
    """

    def __init__(self, cluster: Cluster, namespaces: Sequence[str], kinds: Sequence[Kind], selector: str) -> None:
        self._cluster = cluster
        self._selector = selector
        self._lists = [(kind, namespace) for namespace in namespaces for kind in kinds]
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ends: dict[tuple[str, str], Callable[[], None]] = {}

    def until(self, stop: threading.Event) -> Iterator[str]:
        """Yields a few words until `stop` is set: of one event, and how many more came before it was taken."""
        for kind, namespace in self._lists:
            threading.Thread(target=self._listen, args=(kind, namespace, stop), daemon=True).start()
        threading.Thread(target=self._end, args=(stop,), daemon=True).start()
        pause = _GATHER_SECONDS
        while not stop.is_set():
            heard = [self._heard.get()]
            while not self._heard.empty():
                heard.append(self._heard.get())
            told = [words for words in heard if words]
            if told:
                yield told[0] if len(told) == 1 else f"{told[0]}, and {len(told) - 1} more"
                pause = min(2.0 * pause, _GATHER_LONGEST_SECONDS) if len(told) > 1 else _GATHER_SECONDS
                stop.wait(pause)

    def _listen(self, kind: Kind, namespace: str, stop: threading.Event) -> None:
        since = ""
        while not stop.is_set():
            try:
                # What changed between a look and this is found by the next look.
                since = since or self._cluster.version_now(kind, namespace, self._selector)
                for event in self._cluster.watch(kind, namespace, self._selector, since, self._opened(kind, namespace)):
                    metadata = part(event, "object", "metadata")
                    since = str(metadata.get("resourceVersion") or since)
                    if event.get("type") != "BOOKMARK":
                        self._heard.put(f"{kind.name} {metadata.get('name', '')}: {str(event.get('type')).lower()}")
                    if stop.is_set():
                        return
            except ExpiredError:
                since = ""
                self._heard.put(f"{kind.name}: the watch began anew")
            except TargetError:
                since = ""
                stop.wait(_AGAIN_SECONDS)

    def _opened(self, kind: Kind, namespace: str) -> Callable[[Callable[[], None]], None]:
        def opened(end: Callable[[], None]) -> None:
            self._ends[(kind.name, namespace)] = end

        return opened

    def _end(self, stop: threading.Event) -> None:
        stop.wait()
        for end in list(self._ends.values()):
            end()
        self._heard.put("")
