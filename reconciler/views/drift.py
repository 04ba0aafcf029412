"""What changed outside of Git, apart from what Git wants changed."""

from __future__ import annotations

from typing import Any

from reconciler.core.change import Plan
from reconciler.core.resources import ResourceId
from reconciler.views import plan_json, plan_text
from reconciler.views.style import PLAIN, Style
from reconciler.views.values import age, plural


def text(plan: Plan, since: dict[ResourceId, float], now: float, style: Style = PLAIN) -> str:
    """Every drifted resource with its fields, as it is and as it was left.

    Args:
        since: When each was first seen so, Unix seconds, where it is recorded.
    """
    lines = list(plan_text.drift_lines(plan.drift, style, next_step="healed by the next apply"))
    if plan.drift:
        oldest = min((since[d.id] for d in plan.drift if d.id in since), default=None)
        lines.append("")
        lasting = f", the oldest for {age(now - oldest)}" if oldest is not None else ""
        lines.append(f"{plural(len(plan.drift), 'resource')} drifted{lasting}.")
    else:
        lines.append("No drift: everything that could be seen is as it was left.")
    lines += plan_text.unseen(plan, style)
    if plan.pending:
        lines.append("Apart from that, Git wants changes: `reconciler plan` shows them.")
    return "\n".join(lines) + "\n"


def as_json(plan: Plan, since: dict[ResourceId, float]) -> dict[str, Any]:
    """Drift and pending change apart; `since` in Unix seconds where it is recorded."""
    return {
        "kind": "Drift",
        "formatVersion": 1,
        "revision": str(plan.revision),
        "environment": plan.environment,
        "drifted": bool(plan.drift),
        "pending": plan.pending,
        "targets": {name: state.value for name, state in plan.targets.items()},
        "drift": [{**plan_json.drift(item), "since": since.get(item.id)} for item in plan.drift],
    }
