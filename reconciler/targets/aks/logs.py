"""The logs of pods, one after the other or as they come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

from reconciler.core.errors import TargetError
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import CONTAINER

_NAME_DIGITS = 5
_LAST_LINES = 5


class PodLogs:
    """Logs of one namespace's pods."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def last(self, pod: str) -> list[str]:
        """What a pod said last: before it was started again, if it was."""
        return self.tail(pod, _LAST_LINES, previous=True) or self.tail(pod, _LAST_LINES)

    def tail(self, pod: str, lines: int, *, previous: bool = False) -> list[str]:
        """The last lines of a pod; none where they cannot be read.

        Args:
            previous: Of the container before the last start.
        """
        query = {"container": CONTAINER, "tailLines": str(lines), **({"previous": "true"} if previous else {})}
        try:
            found = [line for line in self._cluster.lines(self._path(pod), f"the log of {pod}", query, 10.0) if line]
        except TargetError:
            return []
        # Of a container that is gone already the kubelet says this in the place of its log, with the status of success.
        return [] if found and found[0].startswith("unable to retrieve container logs for ") else found

    def of(self, pods: Sequence[str], *, lines: int, follow: bool, stop: threading.Event) -> Iterator[str]:
        """The last lines of some pods, then, if they are followed, new ones until `stop` is set."""
        named = {pod: f"[{pod[-_NAME_DIGITS:]}] " if len(pods) > 1 else "" for pod in pods}
        if not follow:
            for pod in pods:
                yield from (f"{named[pod]}{line}" for line in self.tail(pod, lines))
            return
        heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        ends: list[Callable[[], None]] = []

        def listen(pod: str) -> None:
            query = {"container": CONTAINER, "tailLines": str(lines), "follow": "true"}
            try:
                for line in self._cluster.lines(self._path(pod), f"the log of {pod}", query, None, ends.append):
                    heard.put(f"{named[pod]}{line}")
            except TargetError:
                pass
            finally:
                heard.put(None)

        def end() -> None:
            stop.wait()
            for cut in list(ends):
                cut()
            heard.put(None)

        for pod in pods:
            threading.Thread(target=listen, args=(pod,), daemon=True).start()
        threading.Thread(target=end, daemon=True).start()
        left = len(pods)
        while left and not stop.is_set():
            line = heard.get()
            if line is None:
                left -= 1
            else:
                yield line

    def _path(self, pod: str) -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods/{pod}/log"
