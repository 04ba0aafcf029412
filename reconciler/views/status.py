"""How services are: a report as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.report import Report, ResourceReport, ServiceReport
from reconciler.core.resources import Health
from reconciler.core.sync import Sync
from reconciler.views import plan_json
from reconciler.views.style import OF_HEALTH, PLAIN, Style
from reconciler.views.table import Cell, table
from reconciler.views.values import age, masked, paragraph, plural, printable

FORMAT_VERSION = 1
HEAD = ("SERVICE", "HEALTH", "SYNC", "MODELS", "REVISION", "AGE", "URL", "REASON")
_LONGEST_REASON = 100


def text(report: Report, now: float, applied_at: dict[str, float], style: Style = PLAIN) -> str:
    """One line a service, then targets that were not seen whole.

    Args:
        now: Unix time in seconds.
        applied_at: When each service was last changed, Unix seconds, where it is known.
    """
    lines = [f"Environment {printable(report.environment)}"] if report.environment else []
    lines += table(HEAD, [_row(s, now, applied_at.get(s.name)) for s in report.services], style)
    if not report.services:
        lines.append("There are no services.")
    for name, state in sorted(report.targets.items()):
        if state != "complete":
            why = paragraph(report.unseen.get(name, ""))[0]
            lines.append(f"Target {printable(name)}: {printable(state)}{f': {why}' if why else ''}")
    return "\n".join(lines) + "\n"


def _row(service: ServiceReport, now: float, applied_at: float | None) -> list[Cell]:
    synced = service.sync is Sync.IN_SYNC
    since = f" for {age(now - service.drift_since)}" if service.drift_since is not None and not synced else ""
    sync = "suspended" if service.suspended else f"{service.sync.value}{since}"
    reason = paragraph(service.reason)[0]
    cut = reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"
    return [
        Cell(printable(service.name), ("bold",)),
        Cell(service.health.value, (OF_HEALTH[service.health],)),
        Cell(sync, ("dim",) if service.suspended else () if synced else ("yellow",)),
        Cell(printable(", ".join(service.models))),
        Cell(printable(short_revision(service.revision))),
        Cell(age(now - applied_at) if applied_at is not None else ""),
        Cell(printable(service.url)),
        Cell(cut),
    ]


def short_revision(text: str) -> str:
    """`main@sha1:9c41…` or a bare sha as people read it: `main@9c41f02`."""
    name, _, sha = text.rpartition("@")
    sha = sha.removeprefix("sha1:")
    dirty = "+dirty" if sha.endswith("+dirty") else ""
    return f"{name}@{sha[:7]}{dirty}" if name else f"{sha[:7]}{dirty}"


def details(service: ServiceReport, now: float, style: Style = PLAIN) -> str:
    """All that is known of one service, its resources with their reasons and events."""
    lines = [
        f"{style.paint(printable(service.name), 'bold')}  "
        f"{style.paint(service.health.value, OF_HEALTH[service.health])}, {service.sync.value}"
        + (", suspended" if service.suspended else "")
    ]
    about = {
        "target": service.target,
        "models": ", ".join(service.models),
        "revision": service.revision,
        "url": service.url,
        "drifted for": age(now - service.drift_since) if service.drift_since is not None else "",
    }
    lines += [f"  {name:<12}{printable(value)}" for name, value in about.items() if value]
    lines += [f"  {line}" for line in (paragraph(service.reason) if service.reason else [])]
    for resource in service.resources:
        lines += _resource(resource, style)
    return "\n".join(lines) + "\n"


def _resource(resource: ResourceReport, style: Style) -> list[str]:
    health = style.paint(resource.health.value, OF_HEALTH[resource.health])
    sync = "" if resource.sync is Sync.IN_SYNC else f", {resource.sync.value}"
    lines = [f"  {printable(str(resource.id))}  {health}{sync}"]
    lines += [f"      {line}" for line in (paragraph(resource.reason) if resource.reason else [])]
    lines += [f"      {printable(event)}" for event in resource.events]
    return lines


def as_json(
    report: Report, applied_at: dict[str, float] | None = None, refusals: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The report as plain values; secrets among the outputs are masked.

    Args:
        refusals: What rails and policies stop, as in a plan as JSON.
    """
    at = applied_at or {}
    return {
        "kind": "Status",
        "formatVersion": FORMAT_VERSION,
        "installation": report.installation,
        "revision": report.revision,
        "environment": report.environment,
        "health": report.health.value,
        "targets": dict(report.targets),
        "unseen": dict(report.unseen),
        "refusals": [dict(refusal) for refusal in refusals],
        "services": [service_json(service, at.get(service.name)) for service in report.services],
    }


def service_json(service: ServiceReport, applied_at: float | None = None) -> dict[str, Any]:
    """One service."""
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
        "appliedAt": applied_at,
        "driftSince": service.drift_since,
        "drift": [plan_json.drift(item) for item in service.drift],
        "resources": [
            {
                **plan_json.resource(resource.id),
                "health": resource.health.value,
                "sync": resource.sync.value,
                "reason": resource.reason,
                "outputs": masked(dict(resource.outputs)),
                "events": list(resource.events),
            }
            for resource in service.resources
        ],
    }


def summary(services: Sequence[ServiceReport]) -> str:
    """`3 services: 2 Healthy, 1 Degraded`."""
    counted = [(health, sum(s.health is health for s in services)) for health in Health]
    parts = [f"{count:,} {health.value}" for health, count in counted if count]
    return f"{plural(len(services), 'service')}: {', '.join(parts)}" if parts else "no services"
