"""A plan as JSON; the format has a version and grows by adding keys only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reconciler.core.change import (
    Action,
    Change,
    Drift,
    DriftedField,
    Estimate,
    FieldChange,
    Plan,
    Refusal,
    Step,
)
from reconciler.core.contents import Revision
from reconciler.core.resources import ResourceId
from reconciler.core.rollout import share_at
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import MISSING, Unknown, has_secret, unknowns, walk
from reconciler.views import basis as basis_view
from reconciler.views import problems as problem_view
from reconciler.views.grouping import counts
from reconciler.views.values import masked

FORMAT_VERSION = 1


def render(plan: Plan) -> str:
    """One JSON document; changes without effect are counted, not listed."""
    return json.dumps(as_json(plan), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values, as `schema/plan.json` says. Secrets are masked, and it is said where they stood."""
    return {
        "kind": "Plan",
        "formatVersion": FORMAT_VERSION,
        "digest": plan.digest,
        "revision": revision(plan.revision),
        "environment": plan.environment,
        "basis": basis_view.as_json(plan.basis) if plan.basis is not None else None,
        "summary": {action.value: count for action, count in counts(plan).items()},
        "pending": plan.pending,
        "drifted": bool(plan.drift),
        "changes": [_change(change) for change in plan.effective()],
        "drift": [drift(item) for item in plan.drift],
        "kept": [{**resource(k.id), "reason": k.reason, "code": k.code} for k in plan.kept],
        "blocked": [{**resource(b.id), "reason": b.reason, "code": b.code} for b in plan.blocked],
        "refusals": refusals(plan),
        "problems": problem_view.as_json(plan.problems),
        "warnings": problem_view.as_json(plan.warnings),
        "targets": {
            name: {
                "completeness": state.value,
                "missing": plan.unseen.get(name, ""),
                "digest": plan.digests.get(name),
            }
            for name, state in plan.targets.items()
        },
        "suspended": list(plan.suspended),
        "estimate": _estimate(plan.estimate),
    }


def revision(value: Revision) -> dict[str, Any]:
    """A revision with its parts."""
    return {"sha": value.sha, "ref": value.ref, "subject": value.subject, "dirty": value.dirty, "text": str(value)}


def resource(id_: ResourceId) -> dict[str, str]:
    """A resource id with its parts."""
    return {"resource": str(id_), "target": id_.target, "kind": id_.kind, "name": id_.name}


def drift(item: Drift) -> dict[str, Any]:
    """One drifted resource."""
    return {
        **resource(item.id),
        "service": item.service,
        "fields": [drifted(field) for field in item.fields],
        "gone": item.gone,
        "healing": item.healing,
        "note": item.note,
    }


def drifted(field: DriftedField) -> dict[str, Any]:
    data: dict[str, Any] = {"pointer": field.pointer, "policy": field.policy.value, "conflict": field.conflict}
    return data | sides(left=field.left, now=field.now, wanted=field.wanted)


def _change(change: Change) -> dict[str, Any]:
    listed = () if change.action is Action.DELETE else change.fields
    desired = change.desired
    # Of what exists only the fields that change: the rest of what is written may be other people's, kept as it is.
    spec = desired.spec if desired and change.action is Action.CREATE else None
    leaves = list(walk(spec)) if spec is not None else []
    return {
        **resource(change.id),
        "service": change.service,
        "action": change.action.value,
        "reason": change.reason,
        "summary": desired.summary if desired else "",
        "disruption": change.disruption.value,
        "steps": [step.value for step in change.steps],
        "shares": [share for index in range(len(change.steps)) if (share := share_at(change, index))],
        "tests": [test.name for test in desired.tests] if desired and Step.TEST in change.steps else [],
        "driftOnly": change.drift_only,
        "dependsOn": [str(needed) for needed in change.depends_on],
        "fields": fields(listed),
        "spec": masked(spec),
        "sensitive": [pointer for pointer, leaf in leaves if isinstance(leaf, (Secret, SecretRef))],
        "knownAfterApply": {pointer: leaf.source for pointer, leaf in leaves if isinstance(leaf, Unknown)},
        "movedFrom": str(change.moved_from) if change.moved_from else None,
        "movedTo": str(change.moved_to) if change.moved_to else None,
        "successor": change.successor,
        "digest": change.digest,
    }


def refusals(plan: Plan) -> list[dict[str, Any]]:
    """What rails and policies stop, with the ways on, and who has approved it already."""
    return [_refusal(plan, refusal) for refusal in plan.refusals]


def _refusal(plan: Plan, refusal: Refusal) -> dict[str, Any]:
    ways = [{"text": w.text, **({"command": w.command} if w.command else {"edit": w.edit})} for w in refusal.ways]
    approvals = (w.command for w in refusal.ways if w.command.startswith("reconciler approve "))
    return {
        "code": refusal.code,
        "message": refusal.message,
        "hint": refusal.hint,
        "targets": list(refusal.targets),
        "resource": str(refusal.id) if refusal.id else None,
        "approvable": refusal.approvable,
        "digest": plan.digest_for(refusal) if refusal.approvable else None,
        "approve": next(approvals, None),
        "approvedBy": refusal.approved or None,
        "ways": ways,
    }


def _estimate(value: Estimate | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {
        "seconds": round(value.seconds),
        "targets": {name: {"seconds": round(took), "why": why} for name, (took, why) in value.targets.items()},
    }


def fields(changes: Sequence[FieldChange]) -> list[dict[str, Any]]:
    """Field changes; an absent side has no key."""
    return [_field(change) for change in changes]


def _field(change: FieldChange) -> dict[str, Any]:
    data: dict[str, Any] = {"pointer": change.pointer, "cause": change.cause.value}
    data |= sides(before=change.before, after=change.after, left=change.left)
    data["knownAfterApply"] = change.after is not MISSING and bool(unknowns(change.after))
    return data


def sides(**values: Any) -> dict[str, Any]:
    present = {name: value for name, value in values.items() if value is not MISSING}
    data = {name: masked(value) for name, value in present.items()}
    return data | {"sensitive": any(has_secret(value) for value in present.values())}
