"""What the daemon answers over HTTP: `/healthz`, `/readyz`, `/metrics`, `/api/status`, `/snapshot`; it takes no orders.

No body is read, nothing secret is told: outputs of resources are left out but for a service's address, and a snapshot
holds labels where there are secrets.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.core.errors import ReconcilerError
from reconciler.core.report import ServiceReport
from reconciler.engine.daemon import Board, Options, Published, Serve, Server, Snapshot
from reconciler.web.metrics import Metrics
from reconciler.web.server import WebServer

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATUS_VERSION = 1


def app_of(board: Board, metrics: Metrics, options: Options, published: Published) -> Starlette:
    """The application over a board and the snapshot."""

    def healthz(_request: Request) -> Response:
        return _health(board.snapshot(), options.silence_seconds)

    def readyz(_request: Request) -> Response:
        return _ready(board.snapshot())

    def of_metrics(_request: Request) -> Response:
        return Response(metrics.text(), media_type=METRICS_TYPE)

    def status(_request: Request) -> Response:
        return _json(status_of(board.snapshot()))

    def snapshot(_request: Request) -> Response:
        return _snapshot(published)

    metrics.reads(board)
    routes: list[tuple[str, Callable[[Request], Response]]] = [
        ("/healthz", healthz),
        ("/readyz", readyz),
        ("/metrics", of_metrics),
        ("/api/status", status),
        ("/snapshot", snapshot),
    ]
    return Starlette(routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in routes])


def serving(listen: str, metrics: Metrics) -> Serve:
    """What starts the daemon's web server on an address (`host:port`)."""

    def serve(board: Board, options: Options, published: Published) -> Server:
        return WebServer(app_of(board, metrics, options, published), listen)

    return serve


def _health(snapshot: Snapshot, limit: float) -> Response:
    """Alive: no target is silent for longer than the limit. A process that is up proves nothing."""
    silent = snapshot.silent(limit)
    targets: dict[str, Any] = {}
    for name, state in sorted(snapshot.targets.items()):
        since = state.completed if state.completed is not None else state.since
        targets[name] = {
            "ageSeconds": round(snapshot.now - since, 3),
            "outcome": state.last.outcome if state.last else None,
            "runningSeconds": round(snapshot.now - state.running_since, 3) if state.running_since else None,
        }
    body = {"ok": not silent, "limitSeconds": limit, "silent": sorted(silent), "targets": targets}
    body |= {"standby": snapshot.standby} if snapshot.standby else {}
    return _json(body, 503 if silent else 200)


def _ready(snapshot: Snapshot) -> Response:
    waiting = sorted(name for name, status in snapshot.targets.items() if status.last is None)
    body = {"ok": snapshot.ready, "loaded": snapshot.loaded, "stopping": snapshot.stopping, "waitingFor": waiting}
    body |= {"standby": snapshot.standby} if snapshot.standby else {}
    return _json(body, 200 if snapshot.ready else 503)


def _snapshot(published: Published) -> Response:
    try:
        signed = published.newest()
    except ReconcilerError as error:
        return _json({"ok": False, "reason": error.message}, 503)
    if signed is None:
        return _json({"ok": False, "reason": "not all targets were reconciled yet"}, 503)
    return Response(signed, media_type="application/json", headers={"Cache-Control": "no-store"})


def status_of(snapshot: Snapshot) -> dict[str, Any]:
    """The report of all services, as plain data."""
    report = snapshot.report
    targets: dict[str, Any] = {}
    for name, state in sorted(snapshot.targets.items()):
        targets[name] = {
            "seen": report.targets.get(name),
            "outcome": state.last.outcome if state.last else None,
            "reason": state.last.reason if state.last else "",
            "reconciledAt": state.last.at if state.last else None,
            "succeededAt": state.last_good,
        }
    return {
        "version": STATUS_VERSION,
        "installation": report.installation,
        "standby": snapshot.standby,
        "revision": snapshot.revision,
        "environment": report.environment,
        "sourceError": snapshot.source_error,
        "health": report.health.value,
        "targets": targets,
        "services": [_service(service) for service in report.services],
        "problems": [
            {
                "code": p.code,
                "severity": p.severity.value,
                "message": p.message,
                "position": str(p.position) if p.position else "",
                "subject": p.subject,
                "hint": p.hint,
            }
            for p in snapshot.problems
        ],
    }


def _service(service: ServiceReport) -> dict[str, Any]:
    return {
        "name": service.name,
        "target": service.target,
        "health": service.health.value,
        "sync": service.sync.value,
        "models": list(service.models),
        "revision": service.revision,
        "reason": service.reason,
        "url": service.url,
        "suspended": service.suspended,
        "driftSince": service.drift_since,
        "drift": [
            {
                "id": str(d.id),
                "gone": d.gone,
                "fields": [{"pointer": f.pointer, "policy": f.policy.value, "conflict": f.conflict} for f in d.fields],
                "note": d.note,
            }
            for d in service.drift
        ],
        "resources": [
            {"id": str(r.id), "health": r.health.value, "sync": r.sync.value, "reason": r.reason}
            for r in service.resources
        ],
    }


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json", headers={"Cache-Control": "no-store"})
