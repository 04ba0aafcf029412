"""Hop 6's last input: what the record knows, and the situation that it makes together with a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.core.approval import demands
from reconciler.core.basis import Basis
from reconciler.core.dataclass import dataclass, field
from reconciler.core.driver import Capabilities
from reconciler.core.problems import Problem
from reconciler.core.resources import Baseline, Observation, ResourceId
from reconciler.core.situation import Hold, Origin, Rails, Situation
from reconciler.engine.desired import DesiredState


@dataclass(frozen=True, slots=True)
class Known:
    """What planning needs beyond what Git wants and what the targets show.

    Args:
        services: By target, those that the last revision that loaded whole named there.
        suspended: Services that `reconciler suspend` stopped.
        repo: Which repo and path this is, as `described`; empty if that is not known.
        origins: Which ones targets were last applied to from, by their names.
        demanded: Targets whose policy asked for approvals when they were last applied to.
    """

    installation: str
    baselines: Mapping[ResourceId, Baseline] = field(default_factory=dict[ResourceId, Baseline])
    services: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    suspended: frozenset[str] = frozenset()
    holds: Mapping[ResourceId, Hold] = field(default_factory=dict[ResourceId, Hold])
    repo: str = ""
    origins: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    rails: Rails = field(default_factory=Rails)
    demanded: frozenset[str] = frozenset()


def situation_of(
    state: DesiredState,
    capabilities: Mapping[str, Capabilities],
    observations: Mapping[str, Observation],
    known: Known,
    now: float,
    basis: Basis | None = None,
) -> Situation:
    """Everything that a plan depends on, wherever the two sides come from.

    Args:
        capabilities: Of the targets in scope; nothing is planned for others.
        now: Unix time in seconds.
        basis: What was looked at, if not the targets themselves.
    """
    before = frozenset(service for name in capabilities for service in known.services.get(name, ()))
    removed = before - state.services if state.whole and state.services else frozenset[str]()
    if state.whole and not state.services and len(before) == 1:
        removed = before
    here = Origin(known.repo, state.environment)
    return Situation(
        revision=state.revision,
        desired=[d for d in state.desired if d.id.target in capabilities],
        observations=observations,
        capabilities=capabilities,
        baselines=known.baselines,
        installation=known.installation,
        now=now,
        loaded_whole=state.whole,
        incomplete=state.incomplete,
        removed=removed,
        suspended=known.suspended,
        elsewhere={n: o for n, o in known.origins.items() if known.repo and n in capabilities and o != here},
        environment=state.environment,
        approval=demands(capabilities, state.approval, known.demanded, known.rails.approval_targets),
        moves=state.moves,
        deployments=state.deployments,
        holds=known.holds,
        rails=known.rails,
        problems=state.problems,
        warnings=(*state.warnings, *_of_policies(state, observations)),
        basis=basis,
    )


def described(origin: str, path: str) -> str:
    """A repo and the folder in it, for the rail against two repos on one state directory."""
    return f"{origin}, path {path}" if path else origin


def _of_policies(state: DesiredState, observations: Mapping[str, Observation]) -> tuple[Problem, ...]:
    if not state.unmatched:
        return ()
    from reconciler.core.unmatched import still_unmatched

    return still_unmatched(state.unmatched, observations)
