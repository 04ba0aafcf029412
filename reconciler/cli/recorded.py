"""Services as the record knows them: what commands need that talk to one, without reading Git."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.parser import closest
from reconciler.core.errors import UnhealthyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.driver import Address, Driver
    from reconciler.core.resources import Baseline
    from reconciler.engine.store import Store
    from reconciler.wiring import Installation


def known_service(store: Store, service: str) -> list[Baseline]:
    """What is recorded of a service.

    Raises:
        UsageError: Nothing was ever applied under that name.
    """
    baselines = store.baselines()
    found = [b for b in baselines.values() if b.service == service]
    if not found:
        names = sorted({b.service for b in baselines.values() if b.service})
        listed = f"there are {', '.join(names)}" if names else "nothing has been applied yet"
        listed += "; `reconciler status` says why one could not be made"
        raise UsageError(f"there is no service {service!r} here", hint=closest(service, names) or listed)
    return found


def with_drivers(opened: Installation, service: str) -> Iterator[tuple[Baseline, Driver]]:
    """A service's resources, each with the driver of its target.

    Raises:
        UsageError: Nothing was ever applied under that name.
    """
    found = known_service(opened.store, service)
    drivers, _ = opened.targets(opened.store.targets())
    for baseline in found:
        if baseline.id.target in drivers:
            yield baseline, drivers[baseline.id.target]


def address_of(opened: Installation, service: str) -> tuple[Baseline, Address]:
    """Where a service answers.

    Raises:
        UsageError: There is no such service.
        UnhealthyError: It does not answer now.
    """
    from reconciler.core.driver import Endpoint

    for baseline, driver in with_drivers(opened, service):
        if isinstance(driver, Endpoint):
            address = driver.address(baseline.id)
            if address is not None:
                return baseline, address
    raise UnhealthyError(f"{service} is not serving now", hint=f"`reconciler status {service}` says why")
