"""Resources: their ids, what Git wants, what the target reports, and what we last applied."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from reconciler.core.dataclass import dataclass, field
from reconciler.core.policy import Policy
from reconciler.core.problems import Position, Problem
from reconciler.core.smoke import SmokeTest
from reconciler.core.values import Spec, digest


class ResourceId(NamedTuple):
    """A resource's place; `target` may hold a slash (`registry/models`), kind and name do not.

    A tuple and not a dataclass: a plan of thousands of resources hashes and orders ids hundreds of thousands of times.
    """

    target: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.target}/{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> ResourceId:
        """The id that `str()` printed.

        Raises:
            ValueError: It has fewer than three parts.
        """
        target, kind, name = text.rsplit("/", 2)
        return cls(target, kind, name)


class Health(StrEnum):
    """How a resource is, best first; a service has the worst of its resources'."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    SUSPENDED = "Suspended"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"

    @property
    def rank(self) -> int:
        """0 for the best."""
        return _RANKS[self]

    @staticmethod
    def worst(*states: Health) -> Health:
        """The worst of some states; Healthy for none."""
        return max(states, key=lambda state: state.rank, default=Health.HEALTHY)


_RANKS = {health: rank for rank, health in enumerate(Health)}


@dataclass(frozen=True, slots=True)
class Mark:
    """What a resource of ours carries, so that it is known as ours without any store.

    `self_ref` is the id it was written for: a copy under another name keeps it and so is not ours.
    """

    installation: str
    service: str
    revision: str
    spec_digest: str
    self_ref: str
    protect: bool = False

    def to_json(self) -> dict[str, Any]:
        """For labels, tags or a file beside the resource; values are strings and booleans."""
        return {
            "installation": self.installation,
            "service": self.service,
            "revision": self.revision,
            "specDigest": self.spec_digest,
            "self": self.self_ref,
            "protect": self.protect,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Mark:
        """The inverse of `to_json`; unknown keys are ignored, missing ones are empty."""
        return cls(
            installation=str(data.get("installation", "")),
            service=str(data.get("service", "")),
            revision=str(data.get("revision", "")),
            spec_digest=str(data.get("specDigest", "")),
            self_ref=str(data.get("self", "")),
            protect=bool(data.get("protect", False)),
        )


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a new version of a resource comes into service, where its kind can be staged.

    Args:
        staged: It stands beside the one before and is tested there, before it is promoted.
        always: So does a first version, and one that only takes back what a hand changed.
        shares: Percentages of the requests that it gets one after another before it is promoted.
        interval: Seconds that it keeps each of them.
        max_error_rate: The largest part of them that it may fail, 0 to 1; None where nothing tells how many it fails.
    """

    staged: bool = True
    always: bool = True
    shares: tuple[int, ...] = ()
    interval: float = 0.0
    max_error_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """A resource as Git wants it, in the driver's normal form.

    Args:
        service: The service it belongs to; empty for shared artifacts (models, environments, images).
        depends_on: Resources, also at other targets, that must be there first.
        summary: A few words for the plan ("1.2 MB sha256:9c41…", "python 3.11, 14 packages").
        warnings: What the reader of the plan should know (an overridden Python version).
        tests: What this resource must answer at each roll-out, before traffic moves to it.
        rollout: How new versions of it come into service.
        position: Where it is declared, if no service is what it follows from.
    """

    id: ResourceId
    spec: Spec
    service: str = ""
    depends_on: tuple[ResourceId, ...] = ()
    policy: Policy = field(default_factory=Policy)
    summary: str = ""
    warnings: tuple[Problem, ...] = ()
    tests: tuple[SmokeTest, ...] = ()
    rollout: Rollout = field(default_factory=Rollout)
    position: Position | None = field(default=None, compare=False)
    _spec_digest: str = field(default="", init=False, repr=False, compare=False)

    @property
    def spec_digest(self) -> str:
        """The digest of the spec; secrets count by fingerprint, unknowns by their source."""
        if not self._spec_digest:
            # A plan asks several times, and the spec stays what it is.
            object.__setattr__(self, "_spec_digest", digest(self.spec))
        return self._spec_digest


@dataclass(frozen=True, slots=True)
class Staged:
    """A version that stands beside the serving one, waiting to be promoted or discarded.

    Args:
        share: The percentage of the requests that it gets already.
    """

    spec_digest: str
    health: Health
    reason: str = ""
    share: int = 0


class Owner(NamedTuple):
    """Who wrote a field last, as far as the target knows.

    Args:
        manager: In words ("kubectl-edit", "user alice").
        at: Unix time in seconds; None where that is not known.
    """

    manager: str
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A resource as the target reports it, in the same normal form.

    Args:
        spec: All fields the target reports, also those that are not ours.
        mark: Our mark if it carries one, else None.
        health: Of the version whose digest the mark names, never of the one before.
        reason: Why it is not Healthy, with the last log lines where there are any.
        version: Precondition for writes (an etag, a resourceVersion); empty where the target has none.
        outputs: What others may need of it (endpoint, image digest); feeds `Unknown`s.
        busy: A slow operation on it is under way.
        staged: The staged version, if there is one.
        events: What happened to it lately, in words ("killed by signal 9, restarted"), oldest first.
        owners: By pointer, who wrote the fields at or below it, where the target knows: it only names who took one.
    """

    id: ResourceId
    spec: Spec
    mark: Mark | None = None
    health: Health = Health.HEALTHY
    reason: str = ""
    version: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    busy: bool = False
    staged: Staged | None = None
    events: tuple[str, ...] = ()
    owners: Mapping[str, Owner] = field(default_factory=dict[str, Owner])

    def owner_of(self, pointer: str) -> Owner | None:
        """Who wrote a field last: the owner of its own place, or of the closest one above it."""
        while pointer and pointer not in self.owners:
            pointer = pointer.rpartition("/")[0]
        return self.owners.get(pointer)

    def owned_by(self, installation: str) -> bool:
        """Ours: marked by this installation, and for this very id."""
        return self.mark is not None and self.mark.installation == installation and self.mark.self_ref == str(self.id)


class Completeness(StrEnum):
    """Whether a reading can be trusted to list everything."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look at a target saw.

    Complete: everything of ours is in it. Partial: what is in it is true, what is not may exist (`missing` says why).
    Unavailable: nothing is known. An empty complete one means that nothing is there.
    """

    target: str
    completeness: Completeness
    resources: Mapping[ResourceId, Observed] = field(default_factory=dict[ResourceId, Observed])
    missing: str = ""

    @property
    def complete(self) -> bool:
        """Whether absence in it means absence at the target."""
        return self.completeness is Completeness.COMPLETE


@dataclass(frozen=True, slots=True)
class Pending:
    """A write that was begun and whose result is not known: the write-ahead intent.

    Args:
        step: Which driver call (`apply`, `stage`, `promote`, `discard`).
        sent: The spec being written; None for a delete.
        token: The driver's own continuation for slow work, small JSON without secrets.
        started_at: Unix time in seconds, for deadlines.
    """

    action: str
    step: str
    sent: Spec | None
    revision: str = ""
    token: str = ""
    started_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What we last applied to a resource, and what the target answered: the third side of every comparison.

    Args:
        sent: The spec of the last confirmed write, unknowns filled in; None before the first was confirmed.
        answered: The target's own report right after it, or right after it was last seen in sync.
        depends_on: What it needed, so that it is deleted before that.
        pending: A write that was begun and not confirmed.
        unused_since: Unix time in seconds at which nothing needed a retained artifact any more.
    """

    id: ResourceId
    service: str = ""
    sent: Spec | None = None
    answered: Spec | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    revision: str = ""
    protect: bool = False
    prune: bool = True
    depends_on: tuple[ResourceId, ...] = ()
    pending: Pending | None = None
    unused_since: float | None = None
