"""The driver of the docker engine: services as containers, replaced by swapping networks."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from reconciler.containers.engine import Engine
from reconciler.core.change import Change
from reconciler.core.described import Described
from reconciler.core.driver import Address, Done, InProgress
from reconciler.core.errors import RefusedError
from reconciler.core.resources import Completeness, Observation, Observed, ResourceId
from reconciler.targets.local.docker.config import PORT
from reconciler.targets.local.docker.describe import described
from reconciler.targets.local.docker.group import Group, Groups
from reconciler.targets.local.docker.look import RETIRED_SUFFIX, STAGED_SUFFIX, Container
from reconciler.targets.local.docker.record import Records
from reconciler.targets.local.docker.render import KIND, DockerRenderer, Naming
from reconciler.targets.local.docker.report import Reporter
from reconciler.targets.local.docker.rollout import Rollouts
from reconciler.targets.local.docker.streams import Streams
from reconciler.targets.local.docker.swap import Parts

# Source: https://docs.docker.com/reference/api/engine/version/v1.41/#operation/ContainerCreate.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SHORT_ID = 12


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
        kept = self._records = Records(records)
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
        # What was taken over carries no label of ours: it is known by its record.
        for name in (wanted | self._records.services()) - groups.keys():
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

    def describable(self) -> Sequence[str]:
        """The names of all containers of the engine, whoever made them; ours by the names of their services.

        Raises:
            UnavailableError: The engine does not answer.
        """
        with self._engine.calls("listing containers"):
            found = cast("Sequence[Mapping[str, Any]]", self._engine.api.containers(all=True))
        names = [str((each.get("Names") or [""])[0]).lstrip("/") for each in found]
        return [name.removeprefix(self._groups.name("")) for name in names if name and not _auxiliary(name)]

    def describe(self, name: str, service: str) -> Described | None:
        """A container by its own name, or by that of its service; None if there is none.

        Raises:
            RefusedError: It serves for another service of ours.
            UnavailableError: The engine does not answer.
        """
        report = self._called(name, service)
        if report is None:
            return None
        container = Container(report)
        resource = ResourceId(self._target, KIND, service)
        serves = self._serves(container)
        if serves not in (None, resource):
            raise RefusedError(
                f"container {container.name} is {serves} already, which is ours",
                hint=f"import it as that; a service is renamed with `movedFrom: {serves.name}`",
            )
        observed = self._rollouts.observed(resource, Group(container))
        assert observed is not None
        image = self._engine.image(str(report.get("Image") or "")) or {}
        return described(container, observed, image, self._groups.name(service))

    def _serves(self, container: Container) -> ResourceId | None:
        """What of ours a container is; None if it is not, or only a copy of what is."""
        for service in self._records.services():
            if self._records.read(service, container.id) is not None:
                return ResourceId(self._target, KIND, service)
        mark = container.mark
        if mark is None or mark.installation != self._installation:
            return None
        target, _, rest = mark.self_ref.partition("/")
        made_as = f"{target}.{rest.rpartition('/')[2]}"
        return ResourceId.parse(mark.self_ref) if container.name == made_as else None

    def bind(self, name: str, service: str) -> None:
        """Has a container of any name stand where the service's own would, until it is adopted.

        Raises:
            UnavailableError: The engine does not answer.
        """
        report = self._called(name, service)
        if report is not None and self._groups.standing_at(service) is None:
            self._records.bind(service, str(report["Id"]))

    def _called(self, name: str, service: str) -> Mapping[str, Any] | None:
        """A container by its own name or id, or by that of its service; the first letters of an id tell nothing."""
        names = (self._groups.name(service), name) if name == service else (name,)
        for each in names:
            report = self._engine.inspect(each) if _NAME.fullmatch(each) else None
            if report is not None and (Container(report).name == each or len(each) >= _SHORT_ID):
                return report
        return None

    def close(self) -> None:
        """Waits shortly for what is being prepared; containers go on."""
        self._rollouts.end(5.0)
        self._engine.close()


def _auxiliary(name: str) -> bool:
    return name.endswith((STAGED_SUFFIX, RETIRED_SUFFIX))
