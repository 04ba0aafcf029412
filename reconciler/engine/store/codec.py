"""Core values as stored JSON and back; unknown keys are ignored, so that an older release can read a newer record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.core.approval import Approval
from reconciler.core.deployment import Target
from reconciler.core.drifting import Memory, Spell, Told
from reconciler.core.resources import Baseline, Pending, ResourceId
from reconciler.core.situation import Hold
from reconciler.core.values import from_json, to_json, to_text


def baseline_to_text(baseline: Baseline) -> str:
    """A baseline as JSON; secrets as fingerprints, with where they came from."""
    parts = {
        "service": to_text(baseline.service),
        "sent": to_text(baseline.sent, refs=True),
        "answered": to_text(baseline.answered),
        "outputs": to_text(baseline.outputs),
        "revision": to_text(baseline.revision),
        "protect": to_text(baseline.protect),
        "prune": to_text(baseline.prune),
        "dependsOn": to_text([str(d) for d in baseline.depends_on]),
        "unusedSince": to_text(baseline.unused_since),
    }
    if (pending := baseline.pending) is not None:
        parts["pending"] = _object(
            {
                "action": to_text(pending.action),
                "step": to_text(pending.step),
                "sent": to_text(pending.sent, refs=True),
                "revision": to_text(pending.revision),
                "token": to_text(pending.token),
                "startedAt": to_text(pending.started_at),
            }
        )
    return _object(parts)


def _object(parts: Mapping[str, str]) -> str:
    return "{" + ",".join(f'"{key}":{text}' for key, text in parts.items()) + "}"


def baseline_from_text(id_: str, text: str) -> Baseline:
    """The inverse of `baseline_to_text`."""
    data = json.loads(text)
    pending = data.get("pending")
    return Baseline(
        id=ResourceId.parse(id_),
        service=data.get("service", ""),
        sent=from_json(data.get("sent")),
        answered=from_json(data.get("answered")),
        outputs=from_json(data.get("outputs") or {}),
        revision=data.get("revision", ""),
        protect=bool(data.get("protect", False)),
        prune=bool(data.get("prune", True)),
        depends_on=tuple(ResourceId.parse(d) for d in data.get("dependsOn", ())),
        unused_since=data.get("unusedSince"),
        pending=None
        if pending is None
        else Pending(
            action=pending["action"],
            step=pending["step"],
            sent=from_json(pending.get("sent")),
            revision=pending.get("revision", ""),
            token=pending.get("token", ""),
            started_at=pending.get("startedAt", 0.0),
        ),
    )


def target_to_text(target: Target) -> str:
    """A target's type and settings; how to reach what Git no longer names."""
    return json.dumps({"type": target.type, "block": to_json(target.block)}, sort_keys=True)


def target_from_text(name: str, text: str) -> Target:
    """The inverse of `target_to_text`."""
    data = json.loads(text)
    return Target(name, data["type"], from_json(data.get("block") or {}))


def approval_to_text(approval: Approval) -> str:
    """An approval, with what is left to do under it once it is used."""
    data: dict[str, Any] = {"by": approval.by, "at": approval.at}
    if approval.work is not None:
        data["work"] = {str(id_): wanted for id_, wanted in approval.work.items()}
    return json.dumps(data, sort_keys=True)


def approval_from_text(digest: str, text: str) -> Approval:
    """The inverse of `approval_to_text`."""
    data = json.loads(text)
    work = data.get("work")
    left = None if work is None else {ResourceId.parse(id_): str(wanted) for id_, wanted in work.items()}
    return Approval(digest, str(data.get("by", "")), float(data.get("at", 0.0)), left)


def hold_to_text(hold: Hold, attempts: int) -> str:
    """A hold with how often the change failed."""
    return json.dumps(
        {"specDigest": hold.spec_digest, "reason": hold.reason, "until": hold.until, "attempts": attempts}
    )


def hold_from_text(text: str) -> tuple[Hold, int]:
    """The inverse of `hold_to_text`."""
    data = json.loads(text)
    return Hold(data["specDigest"], data["reason"], data["until"]), int(data.get("attempts", 1))


def drift_to_text(memory: Memory) -> str:
    """What is remembered of one resource's drift; values by digest."""
    spells = {
        pointer: {"value": spell.value, "times": list(spell.times), "count": spell.count, "ended": spell.ended}
        for pointer, spell in memory.spells.items()
    }
    return json.dumps({"service": memory.service, "told": memory.told.value, "spells": spells})


def drift_from_text(id_: str, text: str) -> Memory:
    """The inverse of `drift_to_text`."""
    data = json.loads(text)
    spells = {
        pointer: Spell(spell["value"], tuple(spell["times"]), spell["count"], spell.get("ended"))
        for pointer, spell in data.get("spells", {}).items()
    }
    return Memory(ResourceId.parse(id_), data.get("service", ""), spells, Told(data.get("told", "drift")))
