"""The daemon's metrics, in a registry of their own: counted as reconciles end, and read from the board when asked."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from reconciler.core.report import ServiceReport
from reconciler.core.resources import Health
from reconciler.core.sync import Sync
from reconciler.engine.daemon import Board, Reconciled, Snapshot

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class Metrics:
    """Counts reconciles: one of the daemon's observers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        self._seconds = Histogram(
            "reconciler_reconcile_seconds",
            "How long reconciles took, by outcome.",
            ("target", "outcome"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._queued = Histogram(
            "reconciler_queue_seconds",
            "From the wake of a target to the beginning of its reconcile.",
            ("target",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._changes = Counter(
            "reconciler_changes", "Changes carried out, by action.", ("target", "action"), registry=self.registry
        )
        self._healed = Counter(
            "reconciler_drift_healed", "Resources whose drift was taken back.", ("target",), registry=self.registry
        )
        self._errors = Counter(
            "reconciler_errors", "What went wrong at targets, by code.", ("target", "code"), registry=self.registry
        )

    def __call__(self, record: Reconciled) -> None:
        """Counts one reconcile."""
        self._seconds.labels(record.target, record.outcome).observe(record.seconds)
        self._queued.labels(record.target).observe(record.queued)
        self._healed.labels(record.target).inc(record.healed)
        for action, count in record.changes.items():
            self._changes.labels(record.target, action).inc(count)
        for code, count in record.errors.items():
            self._errors.labels(record.target, code).inc(count)
        if record.outcome == "unavailable":
            self._errors.labels(record.target, "target-unavailable").inc()

    def reads(self, board: Board) -> None:
        """Takes gauges from a board from now on."""
        self.registry.register(BoardCollector(board))

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self.registry)


class BoardCollector(Collector):
    """Gauges of the moment; a service that is gone leaves none behind."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """One family after another."""
        snapshot = self._board.snapshot()
        info = InfoMetricFamily("reconciler_build", "The version that runs.")
        info.add_metric((), {"version": version("reconciler")})
        yield info
        loaded = InfoMetricFamily("reconciler_revision", "The revision that targets are reconciled to.")
        loaded.add_metric((), {"revision": snapshot.revision, "environment": snapshot.report.environment})
        yield loaded
        yield GaugeMetricFamily(
            "reconciler_leader", "1 where this replica applies, 0 where it stands by.", float(not snapshot.standby)
        )
        yield GaugeMetricFamily("reconciler_queue_depth", "Targets that wait for a worker.", snapshot.queue_depth)
        yield GaugeMetricFamily(
            "reconciler_source_up", "Whether the manifest repo can be read.", float(not snapshot.source_error)
        )
        yield GaugeMetricFamily("reconciler_problems", "Problems in the manifests.", len(snapshot.problems))
        age = GaugeMetricFamily(
            "reconciler_target_age_seconds", "Since the last completed reconcile.", labels=("target",)
        )
        success = GaugeMetricFamily(
            "reconciler_last_success_timestamp_seconds", "When a reconcile last ended well.", labels=("target",)
        )
        for name, status in snapshot.targets.items():
            since = status.completed if status.completed is not None else status.since
            age.add_metric((name,), snapshot.now - since)
            if status.last_good is not None:
                success.add_metric((name,), status.last_good)
        yield age
        yield success
        health = GaugeMetricFamily(
            "reconciler_service_health", "1 for the health a service has.", labels=("service", "target", "health")
        )
        drift = GaugeMetricFamily(
            "reconciler_service_drift", "Resources that differ from how they were left.", labels=("service", "target")
        )
        lasting = GaugeMetricFamily(
            "reconciler_drift_seconds",
            "Since the oldest drift that lasts was first seen.",
            labels=("service", "target"),
        )
        sync = GaugeMetricFamily(
            "reconciler_service_sync",
            "1 for whether it is what Git wants and as it was left.",
            labels=("service", "target", "state"),
        )
        for service in snapshot.report.services:
            labels = (service.name, service.target)
            for state in Health:
                health.add_metric((*labels, state.value), float(state is service.health))
            for word in Sync:
                sync.add_metric((*labels, word.value), float(word is service.sync))
            drift.add_metric(labels, len(service.drift))
            lasting.add_metric(labels, _lasting(service, snapshot))
        yield health
        yield sync
        yield drift
        yield lasting


def _lasting(service: ServiceReport, snapshot: Snapshot) -> float:
    """Seconds of the service's oldest drift: up to its target's last reconcile by the clock, then by what passed."""
    status = snapshot.targets.get(service.target)
    if service.drift_since is None or status is None or status.last is None or status.completed is None:
        return 0.0
    return max(0.0, status.last.at - service.drift_since + snapshot.now - status.completed)
