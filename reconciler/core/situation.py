"""Everything that planning depends on, as one value: the same situation gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.core.basis import Basis
from reconciler.core.contents import Revision
from reconciler.core.dataclass import dataclass, field
from reconciler.core.deployment import Deployment
from reconciler.core.driver import Capabilities
from reconciler.core.problems import Problem
from reconciler.core.resources import Baseline, Desired, Observation, ResourceId


@dataclass(frozen=True, slots=True)
class Hold:
    """A change that failed and waits before it is tried again.

    Args:
        spec_digest: Of the version that failed; another version is not held.
        until: Unix time in seconds.
    """

    spec_digest: str
    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Origin:
    """What a target was applied to from.

    Args:
        repo: The repo and the path in it, the same for every clone.
        environment: Whose overlay was used; empty for none.
    """

    repo: str
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Rails:
    """Thresholds of the safety rails, from the operator's settings.

    Args:
        max_delete_percent: Of a target's resources, above which deleting or unstaged replacing is refused …
        min_resources: … once the target has this many.
        approval_targets: Names (or patterns) of targets at which nothing is done without an approval.
        approval_days: How long an approval stands that is not used up.
    """

    max_delete_percent: float = 30.0
    min_resources: int = 10
    approval_targets: tuple[str, ...] = ()
    approval_days: float = 7.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What is wanted, what is there, what was left there, and what is allowed.

    Args:
        desired: Of all targets in scope; ids are unique.
        observations, capabilities: By target name; a target without observation was not looked at.
        baselines: Of the targets in scope.
        now: Unix time in seconds, for retention and holds only; the digest does not depend on it.
        loaded_whole: Every document of the revision loaded and resolved.
        incomplete: Services that have documents with errors; nothing of theirs is touched.
        removed: Services whose documents this revision, loaded whole, took out.
        suspended: Services that `reconciler suspend` stopped.
        elsewhere: Targets last applied to from another repo, path or environment than this one -> which.
        environment: Whose overlay the desired resources were made with; empty for none.
        approval: Targets at which nothing is done without an approval -> who asks for it.
        moves: Services that say what they moved from -> the name they had before.
        deployments: By service, for what a resource does not tell: where the service's document stands.
        agreed: What the first of two looks wanted deleted, so that the second deletes nothing else; None for a first.
        basis: What the observations stand for, if not for the targets as they are now.
    """

    revision: Revision
    desired: Sequence[Desired]
    observations: Mapping[str, Observation]
    capabilities: Mapping[str, Capabilities]
    baselines: Mapping[ResourceId, Baseline]
    installation: str
    now: float = 0.0
    loaded_whole: bool = True
    incomplete: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    suspended: frozenset[str] = frozenset()
    elsewhere: Mapping[str, Origin] = field(default_factory=dict[str, "Origin"])
    environment: str = ""
    approval: Mapping[str, str] = field(default_factory=dict[str, str])
    moves: Mapping[str, str] = field(default_factory=dict[str, str])
    deployments: Mapping[str, Deployment] = field(default_factory=dict[str, Deployment])
    agreed: frozenset[ResourceId] | None = None
    holds: Mapping[ResourceId, Hold] = field(default_factory=dict[ResourceId, Hold])
    rails: Rails = field(default_factory=Rails)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    basis: Basis | None = None
