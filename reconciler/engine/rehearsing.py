"""What targets would say to a plan, beside it: the plan stays what it is, so that its digest is the daemon's, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.core.change import Change
from reconciler.core.dataclass import replace
from reconciler.core.driver import Driver, Rehearses
from reconciler.core.errors import AccessError, TargetError, ThrottledError, UnavailableError
from reconciler.core.problems import Problem, Severity
from reconciler.core.resources import ResourceId
from reconciler.engine.outcome import Look


def rehearsed(look: Look, drivers: Mapping[str, Driver]) -> Look:
    """A look whose plan warns of changes that targets would refuse, and says where they could not be asked."""
    found: list[Problem] = []
    for name, driver in sorted(drivers.items()):
        mine = [change for change in look.plan.effective() if change.id.target == name and change.writes]
        if mine and isinstance(driver, Rehearses):
            found += _told(look, name, mine, driver.rehearse(mine))
    return replace(look, plan=replace(look.plan, warnings=(*look.plan.warnings, *found))) if found else look


def _told(
    look: Look, target: str, changes: Sequence[Change], refused: Mapping[ResourceId, TargetError]
) -> list[Problem]:
    found: list[Problem] = []
    silent: list[TargetError] = []
    for change in changes:
        error = refused.get(change.id)
        if isinstance(error, (AccessError, UnavailableError, ThrottledError)):
            silent.append(error)
        elif error is not None:
            deployment = look.situation.deployments.get(change.service)
            position = deployment.position if deployment is not None else None
            message = f"{change.id} would be refused: {error.message}"
            found.append(Problem("would-be-refused", message, position, error.hint, str(change.id), Severity.WARNING))
    if silent:
        count = f"{len(silent)} of {len(changes)} change{'s' if len(changes) > 1 else ''}"
        message = f"target {target} could not be asked whether it takes {count}: {silent[0].message}"
        found.append(Problem("not-verified", message, None, silent[0].hint, f"Target/{target}", Severity.WARNING))
    return found
