"""Replicas agree by a Lease: at most one writes at a time, whoever hangs, stops or is cut off."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from reconciler.core.errors import StaleError, UnavailableError
from reconciler.engine.clock import SystemClock
from reconciler.engine.daemon import Snapshot
from reconciler.engine.daemon.signals import Ending
from reconciler.engine.daemon.standby import StandBy
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.leading import LeaseElection
from reconciler.web.app import serving
from reconciler.web.metrics import Metrics
from tests.targets.aks.standin import Fault, Standin

KEY = ("leases", "ml", "reconciler")


class Replicas:
    """Some replicas with clocks of their own that a test moves."""

    def __init__(self, standin: Standin, folder: Path) -> None:
        self.config = folder / "kubeconfig"
        self.config.write_text(json.dumps(standin.kubeconfig))
        self.time = {"a": 0.0, "b": 5000.0}

    def one(self, name: str) -> LeaseElection:
        """A replica."""
        cluster = Cluster("leader lease", kubeconfig=str(self.config))
        return LeaseElection(cluster, "ml", "reconciler", name, lambda: self.time[name], lambda: 1e9 + self.time[name])

    def pass_(self, seconds: float) -> None:
        """Time goes by for all."""
        self.time = {name: time + seconds for name, time in self.time.items()}


@pytest.fixture
def replicas(standin: Standin, tmp_path: Path) -> Replicas:
    """Replicas at the cluster."""
    return Replicas(standin, tmp_path)


def test_one_leads_until_it_does_not_renew(replicas: Replicas, standin: Standin) -> None:
    """It stops before the other may begin, and never begins again by itself; clocks need not agree."""
    a, b = replicas.one("a"), replicas.one("b")
    with pytest.raises(StaleError):
        a.check()
    assert a.attempt()
    assert not b.attempt()
    assert b.holder == "a"
    for _ in range(4):
        replicas.pass_(9)
        a.check()
        assert a.attempt()
        assert not b.attempt()
    replicas.pass_(9.9)
    a.check()
    assert not b.attempt()
    replicas.pass_(0.2)
    with pytest.raises(StaleError, match="ml/reconciler"):
        a.check()
    replicas.pass_(4.8)
    assert not b.attempt()
    replicas.pass_(0.2)
    assert b.attempt()
    b.check()
    assert not a.attempt()
    with pytest.raises(StaleError):
        a.check()
    spec = standin.show(KEY)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("b", 1, 15)


def test_a_clean_stop_hands_over_at_once(replicas: Replicas, standin: Standin) -> None:
    """Without waiting for the lease's end; what was given back is not written with."""
    a, b = replicas.one("a"), replicas.one("b")
    assert a.attempt()
    assert not b.attempt()
    a.release()
    a.release()
    with pytest.raises(StaleError):
        a.check()
    assert standin.show(KEY)["spec"]["holderIdentity"] == ""
    assert b.attempt()
    a.release()
    assert standin.show(KEY)["spec"]["holderIdentity"] == "b"


def test_of_two_who_take_a_lease_that_ended_one_gets_it(replicas: Replicas, standin: Standin) -> None:
    """The API takes the first write alone; making it is no other than taking it."""
    a, b = replicas.one("a"), replicas.one("b")
    standin.faults.append(Fault("GET", 404, body={"kind": "Status", "reason": "NotFound", "message": "not found"}))
    assert a.attempt()
    standin.faults.append(Fault("GET", 404, body={"kind": "Status", "reason": "NotFound", "message": "not found"}))
    assert not b.attempt()
    replicas.pass_(20)
    assert not b.attempt()
    replicas.pass_(20)
    standin.faults.append(Fault("PUT", 409, body={"kind": "Status", "reason": "Conflict", "message": "modified"}))
    assert not b.attempt()
    assert b.attempt()


def test_a_cluster_that_does_not_answer_ends_leading_in_time(replicas: Replicas, standin: Standin) -> None:
    """Failing to renew is no reason to stop at once, nor to go on for ever."""
    a = replicas.one("a")
    assert a.attempt()
    replicas.pass_(6)
    standin.faults.append(Fault("", 503, times=1))
    with pytest.raises(UnavailableError):
        a.attempt()
    a.check()
    replicas.pass_(3)
    assert a.attempt()
    replicas.pass_(9)
    a.check()


def test_a_replica_that_stands_by_says_so_and_takes_its_turn(replicas: Replicas, standin: Standin) -> None:
    """It is ready and healthy, tells who leads, and begins when it is given back."""
    a = replicas.one("a")
    assert a.attempt()

    class Told(LeaseElection):
        """Between two tries somebody looks at it."""

        def attempt(self) -> bool:
            if seen:
                a.release()
            return super().attempt()

        @property
        def retry_seconds(self) -> float:
            for path in ("/healthz", "/readyz", "/api/status", "/metrics"):
                with urllib.request.urlopen(f"http://{address[0]}{path}") as answer:
                    seen[path] = answer.read().decode()
            return 0.0

    def serve(*made: object) -> object:
        server = serving("127.0.0.1:0", Metrics())(*made)  # type: ignore[arg-type]
        address.append(server.address)
        return server

    seen: dict[str, str] = {}
    address: list[str] = []
    clock = SystemClock()
    cluster = Cluster("leader lease", kubeconfig=str(replicas.config))
    b = Told(cluster, "ml", "reconciler", "b", clock.monotonic, clock.now)
    assert StandBy(b, serve, signals=False).wait() is None  # type: ignore[arg-type]
    assert json.loads(seen["/readyz"])["standby"] == "a"
    assert json.loads(seen["/healthz"])["ok"]
    assert json.loads(seen["/api/status"])["standby"] == "a"
    assert "\nreconciler_leader 0.0\n" in seen["/metrics"]
    b.check()
    b.release()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{address[0]}/readyz")


def test_whoever_stands_by_can_be_stopped(replicas: Replicas) -> None:
    """With the exit code of what stopped it, and the lease is not touched."""
    a = replicas.one("a")
    assert a.attempt()
    waiting = StandBy(replicas.one("b"), signals=False)
    waiting.end(Ending("terminated", 0))
    assert waiting.wait() == 0
    a.check()


def test_whoever_is_stopped_while_it_takes_the_lease_does_not_begin(replicas: Replicas) -> None:
    """The signal is not lost: it would have to be killed."""

    class Slow(LeaseElection):
        """Told to stop before the answer comes that it leads."""

        @property
        def retry_seconds(self) -> float:
            return 0.0

        def attempt(self) -> bool:
            asked.append("")
            if len(asked) == 2:
                a.release()
                waiting.end(Ending("terminated", 0))
            return super().attempt()

    asked: list[str] = []
    a = replicas.one("a")
    assert a.attempt()
    cluster = Cluster("leader lease", kubeconfig=str(replicas.config))
    b = Slow(cluster, "ml", "reconciler", "b", lambda: 0.0, lambda: 0.0)
    waiting = StandBy(b, signals=False)
    try:
        assert waiting.wait() == 0
        assert b.holder == "b"
    finally:
        b.release()


def test_who_cannot_ask_for_the_lease_is_not_ready(replicas: Replicas, standin: Standin) -> None:
    """It goes on asking, and says why it waits."""
    seen: list[Snapshot] = []

    class Watched(LeaseElection):
        """Between two tries somebody looks at it."""

        @property
        def retry_seconds(self) -> float:
            seen.append(waiting.board.snapshot())
            if len(seen) == 2:
                waiting.end(Ending("terminated", 0))
            return 0.0

    a = replicas.one("a")
    assert a.attempt()
    standin.faults.append(Fault("GET", 503))
    cluster = Cluster("leader lease", kubeconfig=str(replicas.config))
    waiting = StandBy(Watched(cluster, "ml", "reconciler", "b", lambda: 0.0, lambda: 0.0), signals=False)
    assert waiting.wait() == 0
    assert [(each.ready, bool(each.source_error), each.standby) for each in seen] == [
        (False, True, ""),
        (True, False, "a"),
    ]
