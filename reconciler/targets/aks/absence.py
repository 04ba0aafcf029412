"""What is not there yet, told for many objects by one list of names: a first apply asks for no object before it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import TargetError
from reconciler.core.resources import ResourceId
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import KINDS, Place

# Each list has all that the ones before it helped to make; what somebody else makes meanwhile shows in the answer.
FRESH_SECONDS = 3.0
# A list of names costs as much as a few objects do.
_FEW = 4
_BURST_SECONDS = 10.0


@dataclass
class _Names:
    """Of one kind in one namespace.

    Args:
        begun: What was called absent since `since`: a request for it may still be on its way, whatever a list says.
        asked: How often since `since`: whether a list is worth it.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    read_at: float = float("-inf")
    names: set[str] = field(default_factory=set[str])
    begun: set[str] = field(default_factory=set[str])
    since: float = float("-inf")
    asked: int = 0


class Absence:
    """Knows of objects that they were absent within the last few seconds.

    Args:
        clock: Monotonic, in seconds.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], _Names] = {}

    def of(self, id_: ResourceId) -> bool:
        """Whether nothing stood there a few seconds ago; False where that is not known, or not worth a list.

        Whoever is told so is taken for having made it: asked again, it is not known.
        """
        place = Place.of(id_.name)
        with self._lock:
            found = self._known.setdefault((id_.kind, place.namespace), _Names())
        with found.lock:
            now = self._clock()
            if now - found.since > _BURST_SECONDS:
                found.since, found.asked = now, 0
                found.begun.clear()
            found.asked += 1
            if found.asked <= _FEW:
                return False
            if now - found.read_at > FRESH_SECONDS and not self._read(found, id_.kind, place.namespace, now):
                return False
            absent = place.name not in found.names and place.name not in found.begun
            found.begun.add(place.name)
            return absent

    def _read(self, found: _Names, kind: str, namespace: str, now: float) -> bool:
        try:
            pages = self._cluster.listing(KINDS[kind], namespace, names=True)
            found.names = {str(one["metadata"]["name"]) for page in pages for one in page}
        except TargetError:
            # Asking for the object itself says what is wrong.
            return False
        found.read_at = now
        return True
