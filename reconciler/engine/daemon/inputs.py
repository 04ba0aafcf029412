"""The tree and what it wants, computed once for all targets; and which running work a newer commit concerns."""

from __future__ import annotations

import structlog

from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass
from reconciler.core.problems import errors_of
from reconciler.core.resources import Desired, ResourceId
from reconciler.engine.desired import DesiredState
from reconciler.engine.reconcile import Reconciler

log = structlog.get_logger(__name__)

TOLD_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Inputs:
    """One revision with its desired state; stands as `States` for the runs that work on it."""

    tree: Tree
    state: DesiredState

    def of(self, tree: Tree) -> DesiredState:
        """The state computed already, whichever tree is asked about: a run sticks to its revision."""
        return self.state


def load_inputs(reconciler: Reconciler, before: Inputs | None, *, anew: bool) -> Inputs:
    """Fetches the newest revision and computes what it wants.

    Args:
        before: What is returned where the revision is still the same, unless `anew`: secrets, rotations or settings
            may have changed.

    Raises:
        ReconcilerError: The source cannot be read.
    """
    tree = reconciler.source()
    same = before is not None and before.tree.revision.sha == tree.revision.sha and not tree.revision.dirty
    if before is not None and same and not anew:
        return before
    return Inputs(tree, reconciler.states.of(tree))


def targets_of(reconciler: Reconciler, state: DesiredState) -> frozenset[str]:
    """Every target with something to do or to watch: named by Git, holding something of ours, or built in."""
    recorded = reconciler.store.targets()
    held = {id_.target for id_ in reconciler.store.baselines()} & recorded.keys()
    return frozenset(state.targets) | held | {driver.target for driver in reconciler.registries}


def concerns(target: str, before: DesiredState, after: DesiredState) -> bool:
    """Whether another desired state wants anything else of a target, or of what its resources need elsewhere."""
    if before is after:
        return False
    old, new = _of(target, before), _of(target, after)
    return old.keys() != new.keys() or any(old[i] is not new[i] and old[i] != new[i] for i in old)


def _of(target: str, state: DesiredState) -> dict[ResourceId, Desired]:
    own = {d.id: d for d in state.desired if d.id.target == target}
    needed = {i for d in own.values() for i in d.depends_on if i.target != target}
    if needed:
        own.update((d.id, d) for d in state.desired if d.id in needed)
    return own


def tell_revision(inputs: Inputs) -> None:
    """Logs a revision when it is first seen, with the first of its problems."""
    revision, errors = inputs.tree.revision, errors_of(inputs.state.problems)
    (log.warning if errors else log.info)(
        "revision",
        revision=revision.short,
        sha=revision.sha,
        subject=revision.subject,
        environment=inputs.state.environment or None,
        services=len(inputs.state.services),
        resources=len(inputs.state.desired),
        errors=len(errors),
    )
    for problem in errors[:TOLD_PROBLEMS]:
        log.warning("problem", revision=revision.short, code=problem.code, problem=str(problem))
