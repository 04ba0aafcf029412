"""Comparing two revisions without any access: the base's desired resources stand in for what is at the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from reconciler.core.approval import demands
from reconciler.core.basis import Basis
from reconciler.core.plan import plan
from reconciler.core.resources import Baseline, Completeness, Mark, Observation, Observed, ResourceId
from reconciler.core.situation import Rails, Situation

if TYPE_CHECKING:
    from reconciler.core.change import Plan
    from reconciler.core.driver import Renderer
    from reconciler.engine.desired import DesiredState
    from reconciler.engine.keynames import Names

INSTALLATION = "offline"


def names_after(base: DesiredState) -> Callable[[], Names]:
    """What generated keys are made of once a commit was applied: a line that says what moved may go without a trace."""

    def name(service: str, moved_from: str) -> str:
        before = moved_from or service
        return base.moves.get(before, before)

    from reconciler.engine.keynames import Names

    return lambda: Names(name, base.moves.keys())


def compare(base: DesiredState | None, head: DesiredState, renderers: Mapping[str, Renderer], rails: Rails) -> Plan:
    """The plan from one revision to another, as if the first had been applied and nothing had moved since.

    Args:
        base: None for an empty one.
        renderers: Of every target in either revision, the registries' among them.
    """
    observed: dict[str, dict[ResourceId, Observed]] = {name: {} for name in renderers}
    baselines: dict[ResourceId, Baseline] = {}
    revision = base.revision.sha if base else ""
    for desired in base.desired if base else ():
        id_, spec, policy = desired.id, desired.spec, desired.policy
        if id_.target not in observed:
            continue
        # The digest in the mark is only read where a record is missing, and here none is.
        mark = Mark(INSTALLATION, desired.service, revision, "", str(id_), policy.protect)
        observed[id_.target][id_] = Observed(id_, spec, mark)
        baselines[id_] = Baseline(
            id_,
            desired.service,
            spec,
            spec,
            revision=revision,
            protect=policy.protect,
            prune=policy.prune,
            depends_on=desired.depends_on,
        )
    situation = Situation(
        revision=head.revision,
        desired=[d for d in head.desired if d.id.target in observed],
        observations={name: Observation(name, Completeness.COMPLETE, found) for name, found in observed.items()},
        capabilities={name: renderer.capabilities for name, renderer in renderers.items()},
        baselines=baselines,
        installation=INSTALLATION,
        loaded_whole=head.whole,
        incomplete=head.incomplete,
        removed=_removed(base, head),
        moves=head.moves,
        deployments=head.deployments,
        approval=demands(observed, head.approval, base.approval if base else (), rails.approval_targets),
        rails=rails,
        problems=head.problems,
        environment=head.environment,
        warnings=(*head.warnings, *(one.problem for one in head.unmatched)),
        basis=Basis("commit", base.revision.short if base else ""),
    )
    return plan(situation)


def _removed(base: DesiredState | None, head: DesiredState) -> frozenset[str]:
    """Services whose documents were taken out; a repo of several that is empty now removed none in particular."""
    if base is None or not head.whole or (not head.services and len(base.services) > 1):
        return frozenset()
    return base.services - head.services
