"""A drift report as JSON (`schema/drift.json`); the format has a version and grows by adding keys only."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reconciler.core.drift_report import Aside, DriftReport, FieldReport, Next, ResourceDrift
from reconciler.core.resources import Owner
from reconciler.views import drift as view
from reconciler.views import plan_json

FORMAT_VERSION = 1


def as_json(report: DriftReport, *, everything: bool = False) -> dict[str, Any]:
    """The report as plain values: drift and pending change apart; times are Unix seconds.

    Args:
        everything: Also differences that are nobody's drift, one by one.
    """
    plan = report.plan
    data: dict[str, Any] = {
        "kind": "Drift",
        "formatVersion": FORMAT_VERSION,
        "revision": plan_json.revision(plan.revision),
        "environment": plan.environment,
        "drifted": bool(report.resources),
        "pending": report.sync.pending,
        "sync": report.sync.value,
        "since": report.since,
        "summary": _summary(report),
        "drift": [_resource(resource) for resource in report.resources],
        "notCompared": [{**plan_json.resource(kept.id), "reason": kept.reason} for kept in report.uncompared],
        "targets": {
            name: {"completeness": state.value, "missing": plan.unseen.get(name, "")}
            for name, state in plan.targets.items()
        },
    }
    return data | ({"leftToOthers": [_aside(one) for one in report.aside]} if everything else {})


def _summary(report: DriftReport) -> dict[str, int]:
    fields = [one for resource in report.resources for one in resource.fields]
    steps = Counter(one.next for one in fields)
    left = sum(one.policy is not None for one in report.aside)
    return {
        "resources": len(report.resources),
        "gone": sum(resource.gone for resource in report.resources),
        "fields": len(fields),
        "heal": steps[Next.HEAL],
        "conflicts": sum(one.field.conflict for one in fields),
        "report": steps[Next.REPORT],
        "held": steps[Next.HELD],
        "fights": sum(resource.fight for resource in report.resources),
        "leftToOthers": left,
        "notOurs": len(report.aside) - left,
    }


def _resource(resource: ResourceDrift) -> dict[str, Any]:
    advice = resource.advice
    return {
        **plan_json.resource(resource.id),
        "service": resource.service,
        "sync": resource.sync.value,
        "gone": resource.gone,
        "note": resource.note,
        "held": resource.held,
        "since": resource.since,
        "times": resource.times,
        "fight": resource.fight,
        "fields": [_field(one) for one in resource.fields],
        "advice": {"file": advice.file, "yaml": "\n".join(view.yaml(advice)) + "\n"} if advice else None,
    }


def _field(one: FieldReport) -> dict[str, Any]:
    return {
        **plan_json.drifted(one.field),
        "origin": one.origin,
        "next": one.next.value,
        "since": one.since,
        "times": one.times,
        "fight": one.fight,
        "by": _owner(one.owner),
        "pattern": one.pattern,
    }


def _owner(owner: Owner | None) -> dict[str, Any] | None:
    return {"manager": owner.manager, "at": owner.at} if owner else None


def _aside(one: Aside) -> dict[str, Any]:
    return {
        **plan_json.resource(one.id),
        "service": one.service,
        "pointer": one.pointer,
        "policy": one.policy.value if one.policy else None,
        "origin": one.origin,
        **plan_json.sides(expected=one.expected, now=one.now),
    }
