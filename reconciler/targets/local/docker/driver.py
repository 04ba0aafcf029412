"""The driver of the docker engine: services as containers, replaced by swapping networks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.containers.engine import Engine
from reconciler.core.change import Change
from reconciler.core.driver import Address, Done, InProgress
from reconciler.core.resources import Completeness, Observation, Observed, ResourceId
from reconciler.targets.local.docker.config import PORT
from reconciler.targets.local.docker.group import Group, Groups
from reconciler.targets.local.docker.record import Records
from reconciler.targets.local.docker.render import KIND, DockerRenderer, Naming
from reconciler.targets.local.docker.report import Reporter
from reconciler.targets.local.docker.rollout import Rollouts
from reconciler.targets.local.docker.streams import Streams
from reconciler.targets.local.docker.swap import Parts


class DockerDriver(DockerRenderer):
    """Serves each deployment as a container.

    Args:
        target: Name of the target.
        installation: Id of this installation; what it did not make is not its own.
        records: Folder for what containers cannot carry, since their labels are fixed when they are made.
    """

    def __init__(
        self, target: str, installation: str, engine: Engine, parts: Parts, naming: Naming, records: Path
    ) -> None:
        super().__init__(target, naming, here=engine.place.here)
        kept = Records(records)
        self._installation = installation
        self._engine = engine
        self._groups = Groups(engine, target, kept)
        self._streams = Streams(engine, target)
        reporter = Reporter(engine, installation, kept, self._groups.name, parts.seal, self._streams.tail)
        self._rollouts = Rollouts(engine, target, self._groups, kept, parts, reporter, self._streams.tail)

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """All services of ours, and whatever stands where known ones would.

        Raises:
            UnavailableError: The engine does not answer.
        """
        wanted = {resource.name for resource in known if resource.target == self._target and resource.kind == KIND}
        groups = self._groups.labelled()
        for name in wanted - groups.keys():
            standing = self._groups.standing_at(name)
            if standing is not None:
                groups[name] = standing
        found: dict[ResourceId, Observed] = {}
        for name in sorted(groups.keys() | self._rollouts.services()):
            resource = ResourceId(self._target, KIND, name)
            seen = self._rollouts.observed(resource, groups.get(name, Group()))
            if seen is not None and (name in wanted or seen.owned_by(self._installation)):
                found[resource] = seen
        return Observation(self._target, Completeness.COMPLETE, found)

    def apply(self, change: Change) -> Done | InProgress:
        """Makes one change; see the contract.

        Raises:
            ConflictError, ForeignError, BusyError, TerminalError, UnavailableError: As the contract says.
        """
        return self._rollouts.make(change)

    def address(self, resource: ResourceId, *, staged: bool = False) -> Address | None:
        """Where the promoted version answers, or the staged one on its own network."""
        group = self._groups.of(resource.name)
        if staged:
            container = group.staged
            if container is None or not container.address:
                return None
            return Address(f"{container.scheme}://{container.address}:{PORT}", verify=False)
        seen = self._rollouts.observed(resource, group)
        url = seen.outputs.get("url") if seen else None
        return Address(str(url), verify=not str(url).startswith("https://127.0.0.1:")) if url else None

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: threading.Event) -> Iterator[str]:
        """The last lines of the serving container, else of the staged one."""
        group = self._groups.of(resource.name)
        container = group.serving or group.staged
        if container is None:
            return
        if follow:
            yield from self._streams.follow(container, lines, stop)
        else:
            yield from self._streams.tail(container, lines)

    def watch(self, stop: threading.Event) -> Iterator[str]:
        """Yields what the engine says of containers of this target."""
        return self._streams.events(stop)

    def close(self) -> None:
        """Waits shortly for what is being prepared; containers go on."""
        self._rollouts.end(5.0)
        self._engine.close()
