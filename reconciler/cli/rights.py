"""What may be done at a target: the driver that knows, what it is needed for, and what is missing in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.parser import closest
from reconciler.core.errors import InvalidError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.cli.session import Session
    from reconciler.core.driver import Access, Right
    from reconciler.core.resources import ResourceId


def access_of(session: Session, name: str) -> tuple[Access, list[ResourceId]]:
    """A target's driver, and what Git wants there or the record knows.

    Raises:
        UsageError: No service is for it.
        InvalidError: It cannot be used, or rights are nothing that it has.
    """
    from reconciler.core.driver import Access

    opened = session.installation()
    state = opened.reconciler.states.of(opened.reconciler.source())
    targets = {**opened.store.targets(), **state.targets}
    if name not in targets:
        hint = closest(name, targets) or f"services are for {', '.join(sorted(targets)) or 'none'}"
        raise UsageError(f"no service is for a target {name!r}", hint=hint)
    drivers, problems = opened.targets({name: targets[name]})
    if name not in drivers:
        raise InvalidError(problems[0].message, hint=problems[0].hint)
    driver = drivers[name]
    if not isinstance(driver, Access):
        raise InvalidError(
            f"target {name} is of type {targets[name].type}, where no rights are asked for",
            hint="only clusters (type aks) have any",
        )
    wanted = {desired.id for desired in state.desired} | set(opened.store.baselines())
    return driver, sorted((id_ for id_ in wanted if id_.target == name), key=str)


def missing(denied: Iterable[Right]) -> Iterator[str]:
    """One line for each kind of thing that something is not allowed with."""
    found: dict[tuple[str, str], list[Right]] = {}
    for right in denied:
        found.setdefault((right.where, right.resource), []).append(right)
    for (where, resource), without in sorted(found.items()):
        verbs = ", ".join(right.verb for right in without)
        purposes = ", ".join(dict.fromkeys(right.purpose for right in without))
        yield f"{where}: {verbs} {resource} is not allowed (for {purposes})"
