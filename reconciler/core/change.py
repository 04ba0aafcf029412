"""Changes and plans: what will be done, why, and what it does to those who use the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

from reconciler.core.basis import Basis
from reconciler.core.contents import Revision
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.policy import FieldPolicy
from reconciler.core.problems import Problem
from reconciler.core.resources import Completeness, Desired, Mark, Observed, ResourceId
from reconciler.core.secrets import Secret
from reconciler.core.values import MISSING, Spec, by_reference, digest, to_json, without_secrets

PLAN_VERSION = 1


class Action(StrEnum):
    """What is done to a resource."""

    NOOP = "no-op"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    ADOPT = "adopt"
    FORGET = "forget"

    @property
    def glyph(self) -> str:
        """The sign in front of it in a plan."""
        return {"no-op": "=", "create": "+", "update": "~", "replace": "±", "delete": "-", "adopt": "»", "forget": "«"}[
            self.value
        ]


class Step(StrEnum):
    """One driver call of a change (`test` is the engine's own). A change without staging is the one step `apply`."""

    APPLY = "apply"
    STAGE = "stage"
    TEST = "test"
    SHIFT = "shift"
    PROMOTE = "promote"
    DISCARD = "discard"


class Disruption(StrEnum):
    """What a change does to those who use the resource, least first."""

    NONE = "none"
    RESTART = "restart"
    REPLACE = "replace"
    OUTAGE = "stops answering"
    DATA_LOSS = "data loss"


class Cause(StrEnum):
    """Whether a field differs because Git changed (pending), because the target did (drift), or because both did."""

    PENDING = "pending"
    DRIFT = "drift"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field: `before` and `after` are values or `MISSING`; secrets compare by fingerprint and print masked.

    Args:
        before: What stands at the target now.
        left: What we left there, where that is not what stands there now: somebody else changed it.
        unfilled: What Git says in place of `after`, where another resource has told what that is; else `MISSING`.
    """

    pointer: str
    before: Any
    after: Any
    cause: Cause = Cause.PENDING
    left: Any = MISSING
    unfilled: Any = field(default=MISSING, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """For digests; an absent side has no key."""
        sides = {"before": self.before, "after": self.after, "left": self.left}
        data: dict[str, Any] = {"pointer": self.pointer, "cause": self.cause.value}
        return data | {name: to_json(value) for name, value in sides.items() if value is not MISSING}

    def semantics(self) -> dict[str, Any]:
        """What a reviewer sees of it: that a secret changes, never what to.

        An unknown that has become known since is still the same change.
        """
        after = self.after if self.unfilled is MISSING else self.unfilled
        sides = {"before": self.before, "after": after, "left": self.left}
        return replace(self, **{name: without_secrets(value) for name, value in sides.items()}).to_json()


@dataclass(frozen=True, slots=True)
class DriftedField:
    """A field of ours that does not read as it was left; each side is a value or `MISSING`.

    Args:
        left: What the target answered to our last write.
        now: What it reads now.
        wanted: What Git wants there.
        policy: What is done about it.
        conflict: Git changed it too, so that neither what was left nor what is there is wanted.
    """

    pointer: str
    left: Any
    now: Any
    wanted: Any = MISSING
    policy: FieldPolicy = FieldPolicy.HEAL
    conflict: bool = False

    @property
    def written(self) -> bool:
        """Whether a plan writes it: back to what it was, or to what Git has come to want."""
        return self.conflict or self.policy is FieldPolicy.HEAL


@dataclass(frozen=True, slots=True)
class Carried:
    """A field that is written as it is there, because a policy leaves it to others.

    Args:
        wanted: What Git has there; `MISSING` where the field is neither Git's nor ours.
    """

    pointer: str
    live: Any
    wanted: Any = MISSING


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to one resource, and all that doing it needs.

    Args:
        reason: Why, in words ("models/diabetes.pkl changed", "deleted outside of Git").
        fields: What differs; empty for create, delete and no-op.
        desired: What Git wants; None for delete and forget.
        observed: What was seen; its `version` is the precondition of the write.
        mark: What the resource is to carry afterwards.
        depends_on: Ids whose changes come first.
        steps: The calls it takes, in order; `step` is the one a driver is asked for.
        share: With `step` shift: the percentage of the requests that the staged version is to get.
        key: With `step` shift: one of the service's own, for what its driver has to ask it.
        drift_only: Git did not change; reality did.
        reported: Drift that stays: what is written carries the live values, the record keeps those that were left.
        carried: What the spec carries along as it is there, since policies leave it to others.
        rendered: The spec as Git wants it, where `desired` has another one: unknowns filled in, live values carried.
        moved_from: Where it was under its former name: an update renames that, a create takes its endpoint over.
        moved_to: What a deleted resource is made as under its service's new name.
        successor: The service that goes on in place of the one a deleted resource belongs to.
    """

    id: ResourceId
    action: Action
    reason: str = ""
    service: str = ""
    fields: tuple[FieldChange, ...] = ()
    desired: Desired | None = None
    observed: Observed | None = None
    mark: Mark | None = None
    disruption: Disruption = Disruption.NONE
    depends_on: tuple[ResourceId, ...] = ()
    steps: tuple[Step, ...] = (Step.APPLY,)
    step: Step = Step.APPLY
    share: int = 0
    key: Secret | None = field(default=None, compare=False, repr=False)
    drift_only: bool = False
    reported: tuple[DriftedField, ...] = ()
    carried: tuple[Carried, ...] = ()
    rendered: Spec | None = field(default=None, compare=False, repr=False)
    moved_from: ResourceId | None = None
    moved_to: ResourceId | None = None
    successor: str = ""

    @property
    def writes(self) -> bool:
        """Whether carrying it out calls the target; what only the record needs has no steps."""
        return bool(self.steps)

    @property
    def wanted(self) -> str:
        """The digest of what Git wants of the resource, secrets by reference; empty where it wants nothing of it.

        What others have made of it, as unknowns filled in or by a policy's leave, does not count: that may move
        without anything of ours moving.
        """
        if self.desired is None:
            return ""
        spec = by_reference(self.rendered if self.rendered is not None else self.desired.spec)
        return self.desired.spec_digest if spec is self.desired.spec else digest(spec)

    def semantics(self) -> dict[str, Any]:
        """What a reviewer approved: everything but the wording and what observing again may change.

        Secrets count by where they come from, as reviewers see them: whoever has not the key finds the same digest.
        The spec counts as Git has it: live values that are carried along may move until the plan is carried out.
        """
        return {
            "id": str(self.id),
            "action": self.action.value,
            "service": self.service,
            "fields": [f.semantics() for f in self.fields],
            "spec": self.wanted,
            "dependsOn": sorted(str(d) for d in self.depends_on),
            "steps": [s.value for s in self.steps],
            **({"movedFrom": str(self.moved_from)} if self.moved_from else {}),
            **({"successor": self.successor} if self.successor else {}),
        }

    @property
    def digest(self) -> str:
        """Equal for changes that mean the same."""
        return digest(self.semantics())


@dataclass(frozen=True, slots=True)
class Drift:
    """A resource whose owned fields no longer read as they were left; apart from what Git wants changed.

    Args:
        gone: The whole resource is not there any more; such a one is made again whatever the policies of its fields.
        note: What the target says about it.
    """

    id: ResourceId
    service: str
    fields: tuple[DriftedField, ...]
    gone: bool = False
    note: str = ""

    @property
    def healing(self) -> bool:
        """Whether a plan writes any of it; otherwise it is reported only."""
        return self.gone or any(field.written for field in self.fields)


@dataclass(frozen=True, slots=True)
class Kept:
    """Something of ours that Git no longer names and that is not deleted, with the reason."""

    id: ResourceId
    reason: str
    code: str


@dataclass(frozen=True, slots=True)
class Way:
    """One way on from a refusal: a command to paste, or an edit to make.

    Args:
        text: What it does, or when it is the right one ("if it is to be taken over").
        command: For a shell; `DIGEST` in it stands for the plan's, and is filled in as soon as there is a plan.
        edit: The change in Git, with its place (`services/diabetes.yaml:1, below spec: policy: {adopt: true}`).
    """

    text: str
    command: str = ""
    edit: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rail that stops (part of) the plan.

    Args:
        code: `too-many-deletes`, `empties-target`, `protected`, `foreign` …
        message: With the numbers.
        hint: What to look at before taking one of the ways.
        targets: The targets whose changes do not run; empty stops only the resource named in `id`.
        approvable: An approval of the plan's digest lifts it.
        ways: Every way on, the usual one first.
        percent: The share of the target's resources that would go, where that is the reason.
        approved: Who has approved it already; empty for nobody.
    """

    code: str
    message: str
    hint: str
    targets: tuple[str, ...] = ()
    id: ResourceId | None = None
    approvable: bool = True
    ways: tuple[Way, ...] = ()
    percent: float = 0.0
    approved: str = ""

    @property
    def waits(self) -> bool:
        """Whether nothing is wrong with what it stops: somebody has to say yes, and that is all."""
        return self.code == "approval-required"

    @property
    def advice(self) -> str:
        """The hint and the ways on, each with its command or edit on a line of its own."""
        lines = [self.hint] if self.hint else []
        for way in self.ways:
            lines += [f"{way.text}:", f"  {way.command or way.edit}"]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A change that cannot run now: its target or a dependency is out of reach, or it waits for its time.

    Args:
        code: `busy` where an operation that was begun has not ended.
    """

    id: ResourceId
    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a plan takes, where a target's own limits make it long.

    Args:
        seconds: For the whole plan.
        targets: The targets that take long -> seconds and why, the longest first.
    """

    seconds: float
    targets: Mapping[str, tuple[float, str]]


@dataclass(frozen=True)
class Plan:
    """The frozen, ordered list of changes; equal inputs give equal plans and equal digests, byte for byte.

    Args:
        targets: How far each target was seen.
        unseen: Why, for those that were not seen whole.
        estimate: None where nothing of it is known to take long.
    """

    revision: Revision
    changes: tuple[Change, ...] = ()
    drift: tuple[Drift, ...] = ()
    kept: tuple[Kept, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    warnings: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    targets: dict[str, Completeness] = field(default_factory=dict[str, Completeness])
    suspended: tuple[str, ...] = ()
    unseen: dict[str, str] = field(default_factory=dict[str, str])
    environment: str = ""
    estimate: Estimate | None = None
    basis: Basis | None = None

    @cached_property
    def digest(self) -> str:
        """What a review is bound to: the semantics of every change that does something, and the environment.

        Their order, and that of files and lists, does not matter.
        """
        where = {"environment": self.environment} if self.environment else {}
        return digest({"version": PLAN_VERSION, "targets": self.digests, **where})

    @cached_property
    def digests(self) -> dict[str, str]:
        """The same for each target with such changes: what is done elsewhere does not change it."""
        found: dict[str, list[str]] = {}
        for change in self.effective():
            found.setdefault(change.id.target, []).append(change.digest)
        return {
            target: digest([PLAN_VERSION, self.environment, target, sorted(found[target])]) for target in sorted(found)
        }

    def digest_for(self, refusal: Refusal) -> str:
        """The digest whose approval lifts a refusal: its target's, so that nothing elsewhere can make it void."""
        return self.digests.get(refusal.targets[0], self.digest) if len(refusal.targets) == 1 else self.digest

    def effective(self) -> Iterator[Change]:
        """The changes that do something."""
        return (change for change in self.changes if change.action is not Action.NOOP)

    @property
    def empty(self) -> bool:
        """Nothing to do."""
        return next(self.effective(), None) is None

    @property
    def pending(self) -> bool:
        """Git wants something changed."""
        return any(not change.drift_only for change in self.effective())

    @property
    def busy(self) -> frozenset[ResourceId]:
        """What something earlier goes on at: before that has ended, it is neither changed nor deleted."""
        return frozenset(each.id for each in (*self.blocked, *self.kept) if each.code == "busy")

    def count(self, action: Action) -> int:
        """How many changes of one kind."""
        return sum(change.action is action for change in self.changes)
