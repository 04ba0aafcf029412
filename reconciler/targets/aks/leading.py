"""One of several replicas applies: the one that holds a Lease of the cluster, as the cluster's own controllers agree.

When somebody else's lease ends is judged by this process's own clock, from when it last saw it renewed, so that clocks
need not agree. Source: https://kubernetes.io/docs/concepts/architecture/leases/ and client-go's `leaderelection`, whose
times these are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from reconciler.core.dataclass import dataclass
from reconciler.core.driver import Right
from reconciler.core.errors import ConflictError, StaleError, TargetError
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.kinds import MANAGER, Kind
from reconciler.targets.aks.parts import Json, part

LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
VERBS = ("get", "create", "update")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds.

    Args:
        duration: After which others may take a lease that is not renewed.
        deadline: After which its holder stops if it could not renew it: before the others may take it.
        retry: Between two tries.
    """

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


class LeaseElection:
    """Asks for a Lease, and renews it. Safe to use from many threads.

    Args:
        identity: Who asks, different for every process.
        monotonic, now: Clocks in seconds: of this process, and of the world, for people to read in the Lease.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        monotonic: Callable[[], float],
        now: Callable[[], float],
        times: Times | None = None,
    ) -> None:
        self._cluster = cluster
        self._namespace, self._name = namespace, name
        self._identity = identity
        self._monotonic, self._now = monotonic, now
        self._times = times or Times()
        self._seen: tuple[Json, float] = ({}, float("-inf"))
        self._renewed: float | None = None
        self._gone = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.holder = ""

    @property
    def retry_seconds(self) -> float:
        """Between two tries."""
        return self._times.retry

    def attempt(self) -> bool:
        """Takes the lease where it is free, has ended, or is this one's own; whether it is held now.

        Raises:
            TargetError: The cluster cannot be asked.
        """
        with self._lock:
            if self._gone:
                return False
        began = self._monotonic()
        found = self._cluster.get(LEASE.path(self._namespace, self._name))
        spec = part(found or {}, "spec")
        if found is not None and spec != self._seen[0]:
            self._seen = (spec, began)
        self.holder = str(spec.get("holderIdentity") or "")
        mine = self.holder == self._identity
        ends = self._seen[1] + float(spec.get("leaseDurationSeconds") or self._times.duration)
        if (self.holder and not mine and began < ends) or (self._renewed is not None and not mine):
            return False
        try:
            self._write(found, mine=mine)
        except ConflictError:
            # Somebody was faster.
            return False
        with self._lock:
            self._renewed, self.holder = began, self._identity
        return True

    def keep(self) -> None:
        """Renews the lease in a thread of its own."""
        self._thread = threading.Thread(target=self._beat, name="leader lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Fails for good as soon as the lease was lost, or could not be renewed in time.

        Raises:
            StaleError: Nothing may be written any more.
        """
        with self._lock:
            if self._renewed is not None and self._monotonic() >= self._renewed + self._times.deadline:
                self._gone = True
            if self._gone or self._renewed is None:
                raise StaleError(
                    f"this replica leads no more: the Lease {self._namespace}/{self._name} was lost, or could not be "
                    "renewed in time",
                    hint="another replica goes on; started again, this one stands by",
                )

    def release(self) -> None:
        """Gives the lease back; safe to call twice. Where that fails, it ends by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            held, self._gone, self._renewed = self._renewed is not None and not self._gone, True, None
        if not held:
            return
        try:
            found = self._cluster.get(LEASE.path(self._namespace, self._name))
            if found is not None and part(found, "spec").get("holderIdentity") == self._identity:
                self._put(found, {**found["spec"], "holderIdentity": "", "leaseDurationSeconds": 1})
        except TargetError:
            return

    # -- details ----------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while not self._stop.wait(self._times.retry):
            try:
                self.check()
                if self.attempt():
                    continue
                if self.holder == self._identity:
                    # The object changed between the two calls, though its holder did not.
                    continue
                with self._lock:
                    self._gone = True
                return
            except StaleError:
                return
            except TargetError:
                # Tried again until the deadline.
                continue

    def _write(self, found: Json | None, *, mine: bool) -> None:
        now = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = part(found or {}, "spec")
        spec: dict[str, Any] = {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": round(self._times.duration),
            "renewTime": now,
        }
        if not mine:
            turns = int(before.get("leaseTransitions") or 0)
            spec |= {"acquireTime": now, "leaseTransitions": turns + 1 if found is not None else 0}
        self._put(found, spec)

    def _put(self, found: Json | None, spec: Json) -> None:
        what = f"taking the lease {self._namespace}:{self._name}"
        body = {**(found or {}), "apiVersion": LEASE.api, "kind": LEASE.name, "spec": spec}
        query = {"fieldManager": MANAGER}
        if found is None:
            body["metadata"] = {"namespace": self._namespace, "name": self._name}
            self._cluster.call("POST", LEASE.path(self._namespace), what, query, body)
        else:
            self._cluster.call("PUT", LEASE.path(self._namespace, self._name), what, query, body)


def lease_rights(namespace: str) -> list[Right]:
    """What agreeing on a leader takes."""
    return [Right(verb, LEASE.resource, namespace, "agreeing on the replica that applies") for verb in VERBS]
