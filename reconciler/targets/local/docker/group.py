"""The containers of one service, found by their names: the one that serves, the staged one, the replaced one."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from reconciler.containers.engine import Engine
from reconciler.targets.local.docker.config import LABEL_TARGET, STAGING_NETWORK
from reconciler.targets.local.docker.look import RETIRED_SUFFIX, STAGED_SUFFIX, Container
from reconciler.targets.local.docker.record import Records

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Group:
    """The containers of one service, by what they do.

    Args:
        serving: Has the port, or had it last. staged: Waits to be promoted. retired: Was replaced, not yet removed.
        promoted: Whether the serving one has yet to be named so.
    """

    serving: Container | None = None
    staged: Container | None = None
    retired: Container | None = None
    promoted: bool = False

    def all(self) -> list[Container]:
        """Every one that is there."""
        return [c for c in (self.staged, self.serving, self.retired) if c is not None]


class Groups:
    """Finds the containers of a target's services.

    Args:
        target: Name of the target, which their names begin with.
        records: Which container serves, by id: one that a hand renamed, or gave its name, is known by it.
    """

    def __init__(self, engine: Engine, target: str, records: Records) -> None:
        self._engine = engine
        self._target = target
        self._records = records

    def name(self, service: str) -> str:
        """The engine's name of a service's serving container."""
        return f"{self._target}.{service}"

    def labelled(self) -> dict[str, Group]:
        """Those that carry this target's label, by service."""
        ids = self._engine.containers(f"{LABEL_TARGET}={self._target}")
        # The engine looks at each anew, which takes longer than asking it.
        with ThreadPoolExecutor(min(_AT_ONCE, 1 + len(ids) // _AT_ONCE), "inspect") as pool:
            reports = pool.map(self._engine.inspect, ids)
        containers = [Container(report) for report in reports if report is not None]
        by_name = {container.name: container for container in containers}
        for container in containers:
            made_as = self.name(container.service)
            if made_as not in by_name and self._records.read(container.service, container.id) is not None:
                by_name[made_as] = by_name.pop(container.name)
        prefix = self.name("")
        names = {
            name.removeprefix(prefix).removesuffix(STAGED_SUFFIX).removesuffix(RETIRED_SUFFIX)
            for name in by_name
            if name.startswith(prefix)
        }
        return {name: self._group(name, by_name) for name in names}

    def standing_at(self, service: str) -> Group | None:
        """Whatever stands where a service's container would, also if it is not ours; None for nothing."""
        known = self._records.container(service)
        report = self._engine.inspect(self.name(service)) or (self._engine.inspect(known) if known else None)
        return Group(Container(report)) if report is not None else None

    def of(self, service: str) -> Group:
        """Those of one service, looked up by name."""
        main = self.name(service)
        reports = {n: self._engine.inspect(n) for n in (main, main + STAGED_SUFFIX, main + RETIRED_SUFFIX)}
        known = self._records.container(service) if reports[main] is None else ""
        if known and known not in {r["Id"] for r in reports.values() if r is not None}:
            reports[main] = self._engine.inspect(known)
        return self._group(service, {n: Container(r) for n, r in reports.items() if r is not None})

    def _group(self, service: str, by_name: Mapping[str, Container]) -> Group:
        main = self.name(service)
        first, staged, retired = (by_name.get(main + suffix) for suffix in ("", STAGED_SUFFIX, RETIRED_SUFFIX))
        if staged is not None and staged.networks - {STAGING_NETWORK} and not (staged.first and first is None):
            # Promoted, and not yet named so.
            return Group(staged, None, retired or first, promoted=True)
        return Group(first, staged, retired)
