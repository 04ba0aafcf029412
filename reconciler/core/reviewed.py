"""A plan that somebody reviewed, beside the plan of now: whether it still holds, and what of the new one is it.

What is applied is what was reviewed, action by action. Actions that have come up since, at resources that the review
was not about, are neither in its way nor carried out with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.core.change import Action, Change, Plan, Refusal
from reconciler.core.resources import Baseline, Completeness, ResourceId
from reconciler.core.values import digest


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What was reviewed.

    Args:
        digest: Of the plan.
        actions: Every resource it does something to, with the digest of what that means.
        records: What was recorded of each at that time, as digests; empty for nothing.
        begun: Those of them that an earlier, interrupted run from the same commit has begun: they are finished,
            whatever is left of them to do.
    """

    digest: str
    actions: Mapping[ResourceId, str]
    records: Mapping[ResourceId, str]
    begun: frozenset[ResourceId] = frozenset()

    @classmethod
    def of(cls, plan: Plan, baselines: Mapping[ResourceId, Baseline]) -> Reviewed:
        """All that a plan does."""
        actions = {change.id: change.digest for change in plan.effective()}
        return cls(plan.digest, actions, {id_: _record(baselines.get(id_)) for id_ in actions})

    def going_on(self, plan: Plan, baselines: Mapping[ResourceId, Baseline]) -> Reviewed:
        """The same, knowing what an earlier run of it has begun."""
        pending = {i: b.pending for i in self.actions if (b := baselines.get(i)) is not None}
        sha = plan.revision.sha
        return replace(self, begun=frozenset(i for i, p in pending.items() if p is not None and p.revision == sha))

    def holds_for(self, change: Change) -> bool:
        """Whether a change is what was reviewed, or what is left of it."""
        return change.id in self.begun or self.actions.get(change.id) == change.digest

    def to_json(self) -> dict[str, Any]:
        """Plain data, but for what was begun: that is for whoever carries it out to see."""
        actions = {str(id_): [digest, self.records.get(id_, "")] for id_, digest in self.actions.items()}
        return {"digest": self.digest, "actions": actions}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reviewed:
        """The inverse of `to_json`.

        Raises:
            ValueError, KeyError, TypeError: It is none.
        """
        given = {ResourceId.parse(id_): both for id_, both in dict(data["actions"]).items()}
        actions = {id_: str(action) for id_, (action, _) in given.items()}
        return cls(str(data["digest"]), actions, {id_: str(record) for id_, (_, record) in given.items()})


@dataclass(frozen=True, slots=True)
class Since:
    """What has changed since a review.

    Args:
        appeared: Actions that were not reviewed and that a reviewed one, or its service, is about.
        vanished: Reviewed actions that are no longer to be done, or cannot be now.
        changed: Reviewed actions that would now do something else.
        done: Reviewed actions that have been carried out, by the record, from the same commit.
        beside: Actions that were not reviewed and concern nothing that was.
        unseen: Targets of reviewed actions that were not wholly seen now.
    """

    appeared: tuple[ResourceId, ...] = ()
    vanished: tuple[ResourceId, ...] = ()
    changed: tuple[ResourceId, ...] = ()
    done: tuple[ResourceId, ...] = ()
    beside: tuple[ResourceId, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether every reviewed action still means the same, and nothing has come up that it is about."""
        return not (self.appeared or self.vanished or self.changed)


def since(reviewed: Reviewed, plan: Plan, baselines: Mapping[ResourceId, Baseline]) -> Since:
    """Compares a review with the plan of now.

    Args:
        baselines: What is recorded.
    """
    reviewed = reviewed.going_on(plan, baselines)
    now = {change.id: change for change in plan.effective()}
    gone = [id_ for id_ in reviewed.actions if id_ not in now]
    done = _done(gone, reviewed, plan, baselines)
    newcomers = [change for change in now.values() if change.id not in reviewed.actions]
    related = _related(reviewed, plan) if newcomers else frozenset[ResourceId]()
    return Since(
        appeared=tuple(change.id for change in newcomers if change.id in related),
        vanished=tuple(id_ for id_ in gone if id_ not in done),
        changed=tuple(i for i in reviewed.actions if i in now and not reviewed.holds_for(now[i])),
        done=tuple(id_ for id_ in gone if id_ in done),
        beside=tuple(change.id for change in newcomers if change.id not in related),
        unseen=tuple(sorted(t for t in {i.target for i in reviewed.actions} if not _seen(plan, t))),
    )


def _done(
    gone: Iterable[ResourceId], reviewed: Reviewed, plan: Plan, baselines: Mapping[ResourceId, Baseline]
) -> frozenset[ResourceId]:
    """Of actions that are no longer to be done, those that have been carried out since, for this very commit."""
    stopped = {b.id for b in plan.blocked} | {k.id for k in plan.kept} | {r.id for r in plan.refusals if r.id}
    wanted = {change.id for change in plan.changes}

    def is_done(id_: ResourceId) -> bool:
        baseline = baselines.get(id_)
        if _record(baseline) == reviewed.records.get(id_, "") or id_ in stopped:
            return False
        if baseline is None:
            return id_ not in wanted
        return id_ in wanted and baseline.pending is None and baseline.revision == plan.revision.sha

    return frozenset(filter(is_done, gone))


def _record(baseline: Baseline | None) -> str:
    return digest([baseline.sent, baseline.answered, baseline.revision]) if baseline is not None else ""


def _seen(plan: Plan, target: str) -> bool:
    return plan.targets.get(target) is Completeness.COMPLETE


def _related(reviewed: Reviewed, plan: Plan) -> frozenset[ResourceId]:
    """Everything that belongs to a service that was reviewed, or that a reviewed resource needs."""
    by_id = {change.id: change for change in plan.changes}
    mine = [by_id[id_] for id_ in reviewed.actions if id_ in by_id]
    services = {change.service for change in mine if change.service}
    found = {change.id for change in plan.changes if change.service in services}
    waiting = [needed for change in mine for needed in _needed(change)]
    while waiting:
        id_ = waiting.pop()
        if id_ not in found:
            found.add(id_)
            waiting += _needed(by_id[id_]) if id_ in by_id else ()
    return frozenset(found)


def _needed(change: Change) -> Iterable[ResourceId]:
    return change.depends_on or (change.desired.depends_on if change.desired else ())


def only(plan: Plan, reviewed: Reviewed) -> Plan:
    """The plan of now, cut down to the actions that were reviewed and still mean the same."""
    changes = tuple(change for change in plan.changes if change.action is Action.NOOP or reviewed.holds_for(change))
    cut = replace(plan, changes=changes)

    def with_digest_of_the_cut(refusal: Refusal) -> Refusal:
        before, after = plan.digest_for(refusal), cut.digest_for(refusal)
        ways = tuple(replace(way, command=way.command.replace(before, after)) for way in refusal.ways)
        return replace(refusal, ways=ways)

    return replace(cut, refusals=tuple(map(with_digest_of_the_cut, plan.refusals)))
