"""What the daemon answers over HTTP."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from reconciler.core.contents import Revision
from reconciler.core.errors import InvalidError
from reconciler.core.report import Report, ServiceReport
from reconciler.core.resources import Health, ResourceId
from reconciler.core.sync import Sync
from reconciler.engine.clock import SystemClock
from reconciler.engine.daemon import Board, Daemon, Options, Published, Reconciled
from reconciler.web.app import app_of, serving
from reconciler.web.metrics import Metrics
from reconciler.web.server import WebServer, bind, is_loopback
from tests.daemon.rig import Rig, service

RECORD = Reconciled("1", "east", ("start",), "main@abc", "applied", 0.2, 0.01, 1000.0, {"create": 2}, errors={})


class Board2(Board):
    """A board whose time a test sets."""

    def __init__(self) -> None:
        self.time = 0.0
        super().__init__("rc-test", lambda: self.time)


@pytest.fixture
def served() -> Iterator[tuple[Board2, httpx.Client, Metrics]]:
    board, metrics = Board2(), Metrics()
    published = Published(board, SystemClock(), lambda: None)
    server = WebServer(app_of(board, metrics, Options(silence_seconds=60.0), published), "127.0.0.1:0")
    with httpx.Client(base_url=f"http://{server.address}", trust_env=False) as client:
        yield board, client, metrics
    server.close()


def test_alive_means_that_targets_were_reconciled_lately(served):
    """A process that is up proves nothing: a target without a sign of life for too long makes it 503."""
    board, client, _ = served
    board.loaded("main@abc", (), ["east"])
    assert client.get("/healthz").status_code == 200
    board.time = 61.0
    silent = client.get("/healthz")
    assert (silent.status_code, silent.json()["silent"]) == (503, ["east"])
    board.alive("east")
    assert client.get("/healthz").status_code == 200
    board.ended(RECORD, None)
    board.time = 100.0
    assert client.get("/healthz").json()["targets"]["east"]["ageSeconds"] == 39.0


def test_ready_means_that_every_target_was_reconciled_once(served):
    """Before that, and while it stops, it is not ready, and says what it waits for."""
    board, client, _ = served
    assert client.get("/readyz").status_code == 503
    board.loaded("main@abc", (), ["east"])
    assert client.get("/readyz").json()["waitingFor"] == ["east"]
    board.ended(RECORD, None)
    assert client.get("/readyz").status_code == 200
    board.stopping()
    assert client.get("/readyz").status_code == 503


def test_metrics_count_reconciles_and_show_services(served):
    """Counters by outcome and action, gauges of health and drift; a service that goes leaves no series behind."""
    board, client, metrics = served
    report = ServiceReport("a", "east", Health.DEGRADED, Sync.DRIFTED, drift_since=900.0)
    board.loaded("main@abc", (), ["east"])
    board.ended(RECORD, Report("rc-test", "main@abc", (report,), {"east": "complete"}))
    metrics(RECORD)
    metrics(replace(RECORD, outcome="unavailable", changes={}, healed=3))
    board.time += 30.0
    text = client.get("/metrics").text
    assert 'reconciler_reconcile_seconds_count{outcome="applied",target="east"} 1.0' in text
    assert 'reconciler_changes_total{action="create",target="east"} 2.0' in text
    assert 'reconciler_errors_total{code="target-unavailable",target="east"} 1.0' in text
    assert 'reconciler_service_health{health="Degraded",service="a",target="east"} 1.0' in text
    assert 'reconciler_service_drift{service="a",target="east"} 0.0' in text
    assert 'reconciler_service_sync{service="a",state="drifted",target="east"} 1.0' in text
    assert 'reconciler_service_sync{service="a",state="pending",target="east"} 0.0' in text
    assert 'reconciler_drift_seconds{service="a",target="east"} 130.0' in text
    assert 'reconciler_drift_healed_total{target="east"} 3.0' in text
    assert 'reconciler_last_success_timestamp_seconds{target="east"} 1000.0' in text
    assert "reconciler_queue_depth 0.0" in text
    board.ended(RECORD, Report("rc-test", "main@abc", (), {"east": "complete"}))
    assert 'service="a"' not in client.get("/metrics").text


def test_status_is_the_report_of_all_targets(served):
    """One JSON object for programs: services, targets, problems, no outputs."""
    board, client, _ = served
    one = ServiceReport("a", "east", Health.HEALTHY, Sync.IN_SYNC, ("m:1",), str(Revision("abc")), url="http://x/")
    board.loaded("main@abc", (), ["east", "west"])
    board.ended(RECORD, Report("rc-test", "main@abc", (one,), {"east": "complete"}))
    body = client.get("/api/status").json()
    assert (body["installation"], body["revision"], body["health"]) == ("rc-test", "main@abc", "Healthy")
    assert body["services"][0]["models"] == ["m:1"]
    assert body["targets"]["west"]["outcome"] is None


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/api/status", "/snapshot"])
def test_it_takes_no_orders(served, path):
    """Only reading is possible; other methods and paths are refused, whatever the body."""
    _, client, _ = served
    assert client.post(path, content=b"x" * 100_000).status_code == 405
    assert client.get(f"{path}/..%2f..").status_code == 404


def test_an_address_in_use_is_told_with_the_way_out():
    """No traceback, the address, and the setting to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InvalidError, match=re.escape(f"cannot listen on {address}")) as caught:
            bind(address)
    assert "daemon.listen" in caught.value.hint


@pytest.mark.parametrize("listen", ["", "9464", "host:", "127.0.0.1:99999", "no.such.host.invalid:1", "192.0.2.1:0"])
def test_an_address_that_is_none_is_refused(listen):
    """Nonsense and addresses of other machines are input errors."""
    with pytest.raises(InvalidError):
        bind(listen)


def test_loopback_is_told_from_the_rest():
    """Whoever starts the server can warn about addresses that others reach."""
    assert [is_loopback(a) for a in ("127.0.0.1:1", "[::1]:1", "localhost:1", "0.0.0.0:1")] == [True, True, True, False]


def test_a_daemon_serves_while_it_runs_and_its_address_stands_in_the_lease(rig: Rig):
    """Those who want to talk to it find it; afterwards the port is free."""
    rig.commit(service("a"))
    metrics = Metrics()
    daemon: Daemon = rig.make(serve=serving("127.0.0.1:0", metrics))
    daemon.board._observers = (*daemon.board._observers, metrics)
    with rig.running(daemon):
        rig.settled(daemon, lambda s: s.ready and s.report.services)
        address = rig.store.holder().address
        body = httpx.get(f"http://{address}/api/status", trust_env=False).json()
        assert [s["name"] for s in body["services"]] == ["a"]
        assert 'outcome="applied"' in httpx.get(f"http://{address}/metrics", trust_env=False).text
    bind(address).close()
    assert ResourceId("east", "service", "a") in rig.store.baselines()
