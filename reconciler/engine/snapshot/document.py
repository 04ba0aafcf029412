"""A snapshot as a value, as JSON (`schema/snapshot.json`), and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.contents import Revision
from reconciler.core.dataclass import dataclass, field
from reconciler.core.deployment import Target
from reconciler.core.diff import equal
from reconciler.core.errors import InvalidError
from reconciler.core.resources import (
    Baseline,
    Completeness,
    Health,
    Mark,
    Observation,
    Observed,
    Pending,
    ResourceId,
    Staged,
)
from reconciler.core.situation import Hold, Origin, Rails
from reconciler.core.values import Spec, from_json, to_json
from reconciler.engine.known import Known, described

FORMAT_VERSION = 1
KIND = "Snapshot"
SAME = "observed"


@dataclass(frozen=True, slots=True)
class Seen:
    """One target as it was seen.

    Args:
        at: Unix time in seconds.
        target: How to render for it, for one that a later revision may no longer name; None for a built-in one.
        retain_seconds: How long what nothing uses any more is kept there; None where that is not known.
    """

    at: float
    observation: Observation
    target: Target | None = None
    retain_seconds: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """What planning needs of one installation at one time; specs hold labels where there are secrets.

    Args:
        made_at: Unix time in seconds.
        origin, path: Which repo and folder are reconciled (`Source.origin`, `Source.path`).
        revision: The one that was being reconciled.
        environment: Whose overlay it was read with; empty for none.
        seen: By target name.
        allowed: Names of the targets that manifests may use; None for all.
        models: Registered versions: name -> version -> digest.
        references: Secret references whose values were at hand.
        surroundings: What rendering depends on beyond manifests, by driver.
    """

    known: Known
    made_at: float
    origin: str
    path: str
    revision: Revision
    seen: Mapping[str, Seen]
    environment: str = ""
    allowed: tuple[str, ...] | None = None
    models: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    references: frozenset[str] = frozenset()
    surroundings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def installation(self) -> str:
        """Whose it is."""
        return self.known.installation

    @property
    def observed_at(self) -> float:
        """When the target was seen that was seen longest ago."""
        return min((seen.at for seen in self.seen.values()), default=self.made_at)


# Writing


def to_text(snapshot: Snapshot) -> str:
    """A snapshot as JSON: the same text for the same snapshot."""
    return json.dumps(as_json(snapshot), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as plain data."""
    known, revision = snapshot.known, snapshot.revision
    recorded: dict[str, set[ResourceId]] = {}
    for id_ in (*known.baselines, *known.holds):
        recorded.setdefault(id_.target, set()).add(id_)
    names = snapshot.seen.keys() | recorded.keys() | known.services.keys() | known.origins.keys()
    return {
        "kind": KIND,
        "formatVersion": FORMAT_VERSION,
        "installation": known.installation,
        "madeAt": snapshot.made_at,
        "repo": {"origin": snapshot.origin, "path": snapshot.path},
        "environment": snapshot.environment,
        "revision": {
            "sha": revision.sha,
            "ref": revision.ref,
            "subject": revision.subject,
            "committedAt": revision.committed_at,
        },
        "rails": {
            "maxDeletePercent": known.rails.max_delete_percent,
            "minResources": known.rails.min_resources,
            "approvalTargets": list(known.rails.approval_targets),
        },
        "allowedTargets": list(snapshot.allowed) if snapshot.allowed is not None else None,
        "targets": {name: _target(snapshot, name, recorded.get(name, set())) for name in sorted(names)},
        "suspended": sorted(known.suspended),
        "models": {name: dict(versions) for name, versions in snapshot.models.items()},
        "references": sorted(snapshot.references),
        "surroundings": dict(snapshot.surroundings),
    }


def _target(snapshot: Snapshot, name: str, recorded: set[ResourceId]) -> dict[str, Any]:
    known, seen = snapshot.known, snapshot.seen.get(name)
    data: dict[str, Any] = {}
    if name in known.services:
        data["services"] = list(known.services[name])
    if name in known.demanded:
        data["approval"] = True
    if name in known.origins:
        data["origin"] = {"repo": known.origins[name].repo, "environment": known.origins[name].environment}
    observed: Mapping[ResourceId, Observed] = {}
    if seen is not None:
        observed = seen.observation.resources
        data["observedAt"] = seen.at
        data["completeness"] = seen.observation.completeness.value
        if seen.observation.missing:
            data["missing"] = seen.observation.missing
        if seen.target is not None:
            data["type"], data["block"] = seen.target.type, to_json(seen.target.block)
        if seen.retain_seconds is not None:
            data["retainSeconds"] = seen.retain_seconds
    data["resources"] = [
        _resource(id_, observed.get(id_), known.baselines.get(id_), known.holds.get(id_))
        for id_ in sorted(recorded | observed.keys())
    ]
    return data


def _resource(id_: ResourceId, observed: Observed | None, baseline: Baseline | None, hold: Hold | None) -> Any:
    data: dict[str, Any] = {"kind": id_.kind, "name": id_.name}
    if observed is not None:
        data["observed"] = _filled(
            {
                "spec": to_json(observed.spec),
                "mark": observed.mark.to_json() if observed.mark else None,
                "health": observed.health.value,
                "reason": observed.reason,
                "outputs": to_json(observed.outputs),
                "busy": observed.busy,
                "staged": {
                    "specDigest": observed.staged.spec_digest,
                    "health": observed.staged.health.value,
                    "share": observed.staged.share,
                }
                if observed.staged
                else None,
            },
            ("spec", "health"),
        )
    if baseline is not None:
        pending = baseline.pending
        data["recorded"] = _filled(
            {
                "service": baseline.service,
                "sent": _or_same(baseline.sent, observed),
                "answered": _or_same(baseline.answered, observed),
                "outputs": to_json(baseline.outputs),
                "revision": baseline.revision,
                "protect": baseline.protect,
                "prune": baseline.prune,
                "dependsOn": [str(d) for d in baseline.depends_on],
                "unusedSince": baseline.unused_since,
                "pending": None
                if pending is None
                else {"action": pending.action, "step": pending.step, "sent": to_json(pending.sent)},
            },
            ("prune", "sent", "answered"),
        )
    if hold is not None:
        data["hold"] = {"specDigest": hold.spec_digest, "reason": hold.reason, "until": hold.until}
    return data


def _or_same(spec: Spec | None, observed: Observed | None) -> Any:
    """The spec; a word in its place where the target reports the very same, as it mostly does."""
    return SAME if spec is not None and observed is not None and equal(spec, observed.spec) else to_json(spec)


def _filled(data: dict[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    """Without what is empty, false or null, those that are always there apart."""
    return {key: value for key, value in data.items() if value or key in kept}


# Reading


def from_text(text: str | bytes) -> Snapshot:
    """The inverse of `to_text`; unknown keys are ignored.

    Raises:
        InvalidError: It is none, is damaged, or is of a version that this release does not know.
    """
    try:
        data = cast("dict[str, Any]", json.loads(text))
        if data["kind"] != KIND:
            raise InvalidError("this is not a snapshot", hint="`reconciler snapshot` makes one")
        version = data["formatVersion"]
        if version != FORMAT_VERSION:
            raise InvalidError(
                f"the snapshot has format version {version!r}, and this release reads {FORMAT_VERSION}",
                hint="use the release of reconciler that the daemon runs",
            )
        return _snapshot(data)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InvalidError(
            f"the snapshot is damaged ({type(error).__name__})", hint="get it anew from the daemon"
        ) from error


def _snapshot(data: dict[str, Any]) -> Snapshot:
    seen: dict[str, Seen] = {}
    baselines: dict[ResourceId, Baseline] = {}
    holds: dict[ResourceId, Hold] = {}
    services: dict[str, tuple[str, ...]] = {}
    origins: dict[str, Origin] = {}
    demanded: set[str] = set()
    for name, target in cast("dict[str, dict[str, Any]]", data["targets"]).items():
        observed: dict[ResourceId, Observed] = {}
        for item in target["resources"]:
            id_ = ResourceId(name, str(item["kind"]), str(item["name"]))
            if "observed" in item:
                observed[id_] = _observed(id_, item["observed"])
            if "recorded" in item:
                baselines[id_] = _baseline(id_, item["recorded"], observed.get(id_))
            if "hold" in item:
                hold = item["hold"]
                holds[id_] = Hold(str(hold["specDigest"]), str(hold["reason"]), float(hold["until"]))
        if "services" in target:
            services[name] = tuple(str(service) for service in target["services"])
        if target.get("approval"):
            demanded.add(name)
        if "origin" in target:
            origins[name] = Origin(str(target["origin"]["repo"]), str(target["origin"]["environment"]))
        if "completeness" in target:
            missing = str(target.get("missing", ""))
            seen[name] = Seen(
                float(target["observedAt"]),
                Observation(name, Completeness(target["completeness"]), observed, missing),
                Target(name, str(target["type"]), from_json(target.get("block") or {})) if "type" in target else None,
                float(target["retainSeconds"]) if "retainSeconds" in target else None,
            )
    revision, rails, allowed = data["revision"], data["rails"], data.get("allowedTargets")
    known = Known(
        str(data["installation"]),
        baselines,
        services,
        frozenset(str(name) for name in data["suspended"]),
        holds,
        described(str(data["repo"]["origin"]), str(data["repo"]["path"])),
        origins,
        Rails(
            float(rails["maxDeletePercent"]),
            int(rails["minResources"]),
            tuple(str(pattern) for pattern in rails.get("approvalTargets", ())),
        ),
        frozenset(demanded),
    )
    return Snapshot(
        known,
        float(data["madeAt"]),
        str(data["repo"]["origin"]),
        str(data["repo"]["path"]),
        Revision(str(revision["sha"]), str(revision["ref"]), str(revision["subject"]), float(revision["committedAt"])),
        seen,
        str(data["environment"]),
        tuple(str(name) for name in allowed) if allowed is not None else None,
        {str(n): {str(v): str(d) for v, d in versions.items()} for n, versions in data["models"].items()},
        frozenset(str(reference) for reference in data["references"]),
        dict(data["surroundings"]),
    )


def _observed(id_: ResourceId, data: dict[str, Any]) -> Observed:
    staged = data.get("staged")
    return Observed(
        id_,
        _spec(data["spec"]),
        Mark.from_json(data["mark"]) if data.get("mark") else None,
        Health(data["health"]),
        str(data.get("reason", "")),
        outputs=dict(from_json(data.get("outputs") or {})),
        busy=bool(data.get("busy", False)),
        staged=Staged(str(staged["specDigest"]), Health(staged["health"]), share=int(staged["share"]))
        if staged
        else None,
    )


def _baseline(id_: ResourceId, data: dict[str, Any], observed: Observed | None) -> Baseline:
    def spec(value: Any) -> Spec | None:
        if value == SAME and observed is not None:
            return observed.spec
        return _spec(value) if value is not None else None

    pending, unused = data.get("pending"), data.get("unusedSince")
    return Baseline(
        id_,
        str(data.get("service", "")),
        spec(data["sent"]),
        spec(data["answered"]),
        dict(from_json(data.get("outputs") or {})),
        str(data.get("revision", "")),
        bool(data.get("protect", False)),
        bool(data["prune"]),
        tuple(ResourceId.parse(str(text)) for text in data.get("dependsOn", ())),
        None
        if pending is None
        else Pending(
            str(pending["action"]),
            str(pending["step"]),
            spec(pending["sent"]),
        ),
        float(unused) if unused is not None else None,
    )


def _spec(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("a spec is a mapping")
    return from_json(data)
