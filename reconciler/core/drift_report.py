"""What there is to say of drift: each field's two values, how long and how often, who, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from reconciler.core.change import Drift, DriftedField, Kept, Plan
from reconciler.core.dataclass import dataclass
from reconciler.core.deployment import Deployment
from reconciler.core.diff import differences
from reconciler.core.drifting import WHOLE, Memory
from reconciler.core.patterns import items_of, named_pointer
from reconciler.core.policy import FieldPolicy, Policy
from reconciler.core.resources import Baseline, Desired, Observed, Owner, ResourceId
from reconciler.core.sides import covers
from reconciler.core.situation import Situation
from reconciler.core.sync import Sync, unsettled
from reconciler.core.three_way import three_way
from reconciler.core.values import unknowns


class Next(StrEnum):
    """What the next reconcile does about a drifted field."""

    HEAL = "heal"
    GIT = "write what Git wants"
    REPORT = "report"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class FieldReport:
    """A drifted field; times are Unix seconds.

    Args:
        origin: Who says what its policy is; empty for the built-in default.
        since: When this drift was first seen; None where nothing is recorded.
        times: How often it was found to have drifted, taken back in between.
        fight: It comes back each time we take it back: somebody else writes this field.
        owner: Who wrote it last, where the target knows.
        pattern: What a policy would call it.
    """

    field: DriftedField
    next: Next
    origin: str = ""
    since: float | None = None
    times: int = 1
    fight: bool = False
    owner: Owner | None = None
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """How to leave fields to others: the lines that a file then has."""

    file: str
    ignore: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResourceDrift:
    """A drifted resource.

    Args:
        held: Why nothing is done about it now; empty if something is.
        advice: What ends a fight about some of its fields.
    """

    id: ResourceId
    service: str
    sync: Sync
    gone: bool
    note: str
    held: str
    since: float | None
    times: int
    fight: bool
    fields: tuple[FieldReport, ...]
    advice: Advice | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """A difference that is nobody's drift.

    Args:
        expected: What Git has there, for a field that a policy leaves to others; else what it read before.
        policy: The policy that leaves it to others; None for a field that was never ours.
    """

    id: ResourceId
    service: str
    pointer: str
    expected: object
    now: object
    policy: FieldPolicy | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All drift of an installation at one moment.

    Args:
        aside: Differences that policies leave to others, and those in fields that are not ours.
    """

    plan: Plan
    sync: Sync
    resources: tuple[ResourceDrift, ...]
    aside: tuple[Aside, ...] = ()

    @property
    def uncompared(self) -> tuple[Kept, ...]:
        """What serves and is not compared, since Git does not name it (any more), or its manifests have errors."""
        return tuple(kept for kept in self.plan.kept if kept.code != "retained")

    @property
    def since(self) -> float | None:
        """When the oldest of it was first seen."""
        return min((one.since for one in self.resources if one.since is not None), default=None)


def drift_report(
    plan: Plan,
    situation: Situation,
    memories: Mapping[ResourceId, Memory],
    deployments: Mapping[str, Deployment],
    now: float,
    service: str = "",
) -> DriftReport:
    """The report that follows from a plan and what is remembered.

    Args:
        now: Unix seconds.
        service: Of this one alone; empty for all.
    """
    wanted = {desired.id: desired for desired in situation.desired if not service or desired.service == service}
    syncs = {id_: sync for id_, sync in unsettled(plan).items() if not service or id_ in wanted}
    held = {blocked.id: blocked.reason for blocked in plan.blocked}
    held |= {refusal.id: refusal.message for refusal in plan.refusals if refusal.id is not None}
    refused = {target: refusal.message for refusal in plan.refusals for target in refusal.targets}
    resources: list[ResourceDrift] = []
    for drift in plan.drift:
        desired = wanted.get(drift.id)
        if desired is not None:
            why = held.get(drift.id) or (refused.get(drift.id.target, "") if drift.healing else "")
            seen = _seen(situation, drift.id)
            memory = memories.get(drift.id, Memory(drift.id))
            resources.append(_resource(drift, desired, seen, memory, syncs[drift.id], why, deployments, now))
    told = {drift.id: [field.pointer for field in drift.fields] for drift in plan.drift}
    aside = tuple(one for desired in wanted.values() for one in _aside(situation, desired, told.get(desired.id, ())))
    return DriftReport(plan, Sync.together(syncs.values()), tuple(resources), aside)


def _seen(situation: Situation, id_: ResourceId) -> Observed | None:
    observation = situation.observations.get(id_.target)
    return observation.resources.get(id_) if observation else None


def _resource(
    drift: Drift,
    desired: Desired,
    seen: Observed | None,
    memory: Memory,
    sync: Sync,
    held: str,
    deployments: Mapping[str, Deployment],
    now: float,
) -> ResourceDrift:
    whole = memory.seen(WHOLE, now) if drift.gone else None
    fields = tuple(_field(one, desired, seen, memory, held, now) for one in drift.fields)
    pointers = [*(one.pointer for one in drift.fields), *([WHOLE] if drift.gone else [])]
    known = [spell.since for pointer, spell in memory.lasting.items() if pointer in pointers]
    times = [one.times for one in fields] + ([whole.count] if whole else [])
    fought = [one.pattern for one in fields if one.fight]
    deployment = deployments.get(desired.service)
    position = deployment.position if deployment else None
    return ResourceDrift(
        drift.id,
        drift.service,
        sync,
        drift.gone,
        drift.note,
        held,
        min(known, default=None),
        max(times, default=1),
        bool(fought) or (whole is not None and whole.fought(now)),
        fields,
        Advice(position.file, _ignoring(desired.policy, fought)) if fought and position else None,
    )


def _ignoring(policy: Policy, more: list[str]) -> tuple[str, ...]:
    """The service's own list of what it leaves to others, with some patterns more."""
    own = [r.pattern for r in policy.rules if r.origin == "service" and r.policy is FieldPolicy.IGNORE]
    return tuple(dict.fromkeys((*own, *more)))


def _field(
    field: DriftedField, desired: Desired, seen: Observed | None, memory: Memory, held: str, now: float
) -> FieldReport:
    spell, lasting = memory.seen(field.pointer, now), memory.lasting.get(field.pointer)
    spec = seen.spec if seen else desired.spec
    items = items_of(spec)
    rule = desired.policy.rule_of(desired.id.kind, field.pointer, items)
    if field.written:
        step = Next.HELD if held else Next.GIT if field.conflict else Next.HEAL
    else:
        step = Next.REPORT
    return FieldReport(
        field,
        step,
        rule.origin if rule else desired.policy.origin,
        lasting.since if lasting else None,
        spell.count if spell else 1,
        field.written and spell is not None and spell.fought(now),
        seen.owner_of(field.pointer) if seen else None,
        f"{desired.id.kind}:{named_pointer(field.pointer, items)}",
    )


def _aside(situation: Situation, desired: Desired, told: Sequence[str]) -> Iterator[Aside]:
    """Differences of a resource that are neither drift, which is told apart, nor what Git has come to want."""
    seen, baseline = _seen(situation, desired.id), situation.baselines.get(desired.id)
    if seen is None or baseline is None or baseline.answered is None or not seen.owned_by(situation.installation):
        return
    policy, kind = desired.policy, desired.id.kind
    left = {*told}
    if policy.drift.leaves or any(rule.policy.leaves for rule in policy.rules):
        known = situation.capabilities.get(desired.id.target)
        compared = three_way(
            kind,
            desired.spec,
            seen.spec,
            baseline.sent,
            baseline.answered,
            policy=policy,
            closed=known.closed if known else (),
        )
        for one in compared.carried:
            left.add(one.pointer)
            rule = policy.rule_of(kind, one.pointer, items_of(seen.spec))
            decided, origin = (rule.policy, rule.origin) if rule else (policy.drift, policy.origin)
            if not unknowns(one.wanted):
                yield Aside(desired.id, desired.service, one.pointer, one.wanted, one.live, decided, origin)
    for pointer, before, now in differences(baseline.answered, seen.spec):
        if not _ours(pointer, desired, baseline) and not any(_overlap(pointer, place) for place in left):
            yield Aside(desired.id, desired.service, pointer, before, now)


def _ours(pointer: str, desired: Desired, baseline: Baseline) -> bool:
    sides = [desired.spec, baseline.sent, baseline.pending.sent if baseline.pending else None]
    return any(covers(side, pointer) for side in sides if side is not None)


def _overlap(pointer: str, place: str) -> bool:
    return pointer == place or pointer.startswith(f"{place}/") or place.startswith(f"{pointer}/")
