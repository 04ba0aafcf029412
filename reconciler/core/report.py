"""What is reported of a reconcile: computed once, at its end, from the plan and the observations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from reconciler.core.change import Action, Change, Drift, Plan
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.resources import Health, Observation, Observed, ResourceId
from reconciler.core.sync import Sync, unsettled


@dataclass(frozen=True, slots=True)
class ResourceReport:
    """One resource as last seen, and whether it is what Git wants and as it was left."""

    id: ResourceId
    health: Health
    reason: str = ""
    outputs: tuple[tuple[str, Any], ...] = ()
    events: tuple[str, ...] = ()
    sync: Sync = Sync.IN_SYNC


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service: the worst of its resources, and whether it is what Git wants.

    Args:
        models: `name:version` as served (or to be served, where nothing is served yet).
        revision: The commit that its resources were last applied from.
        reason: Of the worst health, of a block or of a hold; empty if all is well.
        drift_since: Unix time in seconds at which the present drift was first seen.
    """

    name: str
    target: str
    health: Health
    sync: Sync
    models: tuple[str, ...] = ()
    revision: str = ""
    reason: str = ""
    url: str = ""
    suspended: bool = False
    resources: tuple[ResourceReport, ...] = ()
    drift: tuple[Drift, ...] = ()
    drift_since: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All services of an installation at one revision.

    Args:
        targets: How far each was seen.
        unseen: Why, for those that were not seen whole.
    """

    installation: str
    revision: str
    services: tuple[ServiceReport, ...]
    targets: Mapping[str, str]
    unseen: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: str = ""

    @property
    def health(self) -> Health:
        """The worst of all services'."""
        return Health.worst(*(service.health for service in self.services))


@dataclass(slots=True)
class ReportMemo:
    """Reports of services in sync, with the changes and revisions that they follow from."""

    services: dict[str, tuple[list[Change], list[str | None], ServiceReport]] = field(
        default_factory=dict[str, "tuple[list[Change], list[str | None], ServiceReport]"]
    )


def report_of(
    installation: str,
    plan: Plan,
    observations: Mapping[str, Observation],
    revisions: Mapping[ResourceId, str],
    drift_since: Mapping[ResourceId, float] | None = None,
    memo: ReportMemo | None = None,
    accessories: Mapping[str, frozenset[str]] | None = None,
) -> Report:
    """The report that follows from a plan and what was observed for it: services that Git names or that were kept.

    Args:
        revisions: Commit that each resource was last applied from.
        drift_since: When each drifted resource was first seen so, Unix seconds.
        memo: Of the last report of this process: services of which nothing changed keep their report.
        accessories: Target -> kinds that answer nothing: a service goes on without them.
    """
    held = {b.id: b.reason for b in plan.blocked} | {r.id: r.message for r in plan.refusals if r.id is not None}
    changes: dict[str, list[Change]] = defaultdict(list)
    for change in plan.changes:
        if change.service and change.action is not Action.FORGET:
            changes[change.service].append(change)
    drift: dict[str, list[Drift]] = defaultdict(list)
    for drifted in plan.drift:
        drift[drifted.service].append(drifted)
    syncs = unsettled(plan)
    moving = {*drift, *plan.suspended, *(c.service for c in plan.changes if held and c.id in held)}
    before = memo.services if memo is not None else {}
    kept: dict[str, tuple[list[Change], list[str | None], ServiceReport]] = {}
    services: list[ServiceReport] = []
    for name, own in sorted(changes.items()):
        applied = [revisions.get(c.id) for c in own]
        known = before.get(name) if name not in moving else None
        if known is not None and _same(own, known[0], observations) and known[1] == applied:
            report = known[2]
        else:
            report = _service(
                name,
                {c.id: c for c in own},
                tuple(drift.get(name, ())),
                plan,
                held,
                syncs,
                observations,
                revisions,
                drift_since or {},
                accessories or {},
            )
        services.append(report)
        if name not in moving:
            kept[name] = (own, applied, report)
    if memo is not None:
        memo.services = kept
    unnamed = _unnamed(plan, observations, changes.keys())
    if unnamed:
        services += [_kept(name, own, plan, observations, revisions) for name, own in unnamed.items()]
        services.sort(key=lambda s: s.name)
    targets = {name: completeness.value for name, completeness in sorted(plan.targets.items())}
    return Report(installation, str(plan.revision), tuple(services), targets, plan.unseen, plan.environment)


def _unnamed(
    plan: Plan, observations: Mapping[str, Observation], named: Collection[str]
) -> dict[str, dict[ResourceId, str]]:
    """What is still there of services without a change, and why it was not deleted."""
    reasons = {r.id: r.message for r in plan.refusals if r.id is not None} | {k.id: k.reason for k in plan.kept}
    found: dict[str, dict[ResourceId, str]] = defaultdict(dict)
    for id_, reason in reasons.items():
        seen = _seen(id_, observations)
        service = seen.mark.service if seen is not None and seen.mark is not None else ""
        if service and service not in named:
            found[service][id_] = reason
    return found


def _kept(
    name: str,
    own: Mapping[ResourceId, str],
    plan: Plan,
    observations: Mapping[str, Observation],
    revisions: Mapping[ResourceId, str],
) -> ServiceReport:
    ids = sorted(own)
    reports = tuple(_resource(id_, observations, Sync.KEPT) for id_ in ids)
    worst = max(reports, key=lambda r: r.health.rank)
    seen = [o for id_ in ids if (o := _seen(id_, observations)) is not None]
    return ServiceReport(
        name=name,
        target=ids[0].target,
        health=worst.health,
        sync=Sync.KEPT,
        models=_models(seen),
        revision=next((revisions[i] for i in ids if revisions.get(i)), ""),
        reason=worst.reason or own[ids[0]],
        url=_url(seen),
        suspended=name in plan.suspended,
        resources=reports,
    )


def _url(seen: Iterable[Observed]) -> str:
    return next((str(o.outputs["url"]) for o in seen if o.outputs.get("url")), "")


def _same(changes: list[Change], before: list[Change], observations: Mapping[str, Observation]) -> bool:
    """The very same changes, and of resources that are seen as they were when the changes were made."""
    if len(changes) != len(before):
        return False
    for change, known in zip(changes, before, strict=True):
        seen = change.observed
        if change is not known or seen is None or _seen(change.id, observations) is not seen:
            return False
    return True


def _service(
    name: str,
    changes: Mapping[ResourceId, Change],
    drift: tuple[Drift, ...],
    plan: Plan,
    held: Mapping[ResourceId, str],
    syncs: Mapping[ResourceId, Sync],
    observations: Mapping[str, Observation],
    revisions: Mapping[ResourceId, str],
    since: Mapping[ResourceId, float],
    accessories: Mapping[str, frozenset[str]],
) -> ServiceReport:
    own = sorted(changes)
    reports = tuple(_resource(id_, observations, syncs.get(id_, Sync.IN_SYNC)) for id_ in own)
    worst = _worst(reports, revisions, accessories)
    reasons = [worst.reason, *(held[i] for i in own if i in held)]
    seen = [o for id_ in own if (o := _seen(id_, observations)) is not None]
    drifted_at = [since[d.id] for d in drift if d.id in since]
    return ServiceReport(
        name=name,
        target=own[0].target,
        health=worst.health,
        sync=Sync.together(report.sync for report in reports),
        models=_models(seen),
        revision=next((revisions[i] for i in own if revisions.get(i)), ""),
        reason=next((r for r in reasons if r), ""),
        url=_url(seen),
        suspended=name in plan.suspended,
        resources=reports,
        drift=drift,
        drift_since=min(drifted_at, default=None),
    )


def _worst(
    reports: Sequence[ResourceReport],
    revisions: Mapping[ResourceId, str],
    accessories: Mapping[str, frozenset[str]],
) -> ResourceReport:
    """What makes a service as it is: one that goes on without an accessory is not missing.

    An accessory that was there is missed; one that is still to be made is no matter of health.
    """
    kept: list[ResourceReport] = []
    for report in reports:
        if report.health is not Health.MISSING or report.id.kind not in accessories.get(report.id.target, ()):
            kept.append(report)
        elif report.id in revisions:
            kept.append(replace(report, health=Health.DEGRADED, reason=f"{report.id.kind} {report.id.name} is gone"))
    return max(kept or reports, key=lambda r: r.health.rank)


def _seen(id_: ResourceId, observations: Mapping[str, Observation]) -> Observed | None:
    observation = observations.get(id_.target)
    return observation.resources.get(id_) if observation else None


def _resource(id_: ResourceId, observations: Mapping[str, Observation], sync: Sync) -> ResourceReport:
    observation = observations.get(id_.target)
    observed = _seen(id_, observations)
    if observed is not None:
        outputs = tuple(sorted(observed.outputs.items()))
        return ResourceReport(id_, observed.health, observed.reason, outputs, observed.events, sync)
    if observation is not None and observation.complete:
        return ResourceReport(id_, Health.MISSING, "not there", sync=sync)
    why = observation.missing if observation else "target not looked at"
    return ResourceReport(id_, Health.UNKNOWN, why, sync=sync)


def _models(seen: Iterable[Observed]) -> tuple[str, ...]:
    for observed in seen:
        models = observed.spec.get("models")
        if isinstance(models, (list, tuple)):
            pairs = [m for m in models if isinstance(m, dict)]
            return tuple(f"{m.get('name')}:{m.get('version')}" for m in pairs)
    return ()
