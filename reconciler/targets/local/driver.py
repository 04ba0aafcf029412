"""A local target with both of its engines: each service goes to the one that it, or else the target, asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Queue
from typing import Protocol, cast

from reconciler.core.change import Change
from reconciler.core.dataclass import replace
from reconciler.core.described import Described
from reconciler.core.driver import Address, Describes, Done, Driver, Endpoint, Events, InProgress, Logs
from reconciler.core.errors import InvalidError, ReconcilerError, TargetError, UnavailableError
from reconciler.core.resources import Completeness, Observation, ResourceId
from reconciler.targets.local.render import DOCKER, PROCESS, Choice, LocalRenderer

_ENGINE_PAUSE = 1.0  # seconds until a container engine that went away is asked for again


class EngineDriver(Driver, Endpoint, Logs, Events, Describes, Protocol):
    """What both engines' drivers can do."""


class LocalDriver(LocalRenderer):
    """Routes by engine when rendering, and by kind afterwards.

    Args:
        process: The process engine's driver.
        docker: The docker engine's driver, made when first needed.
        choice: The engine of services that ask for none, and why.
        in_use: Whether containers of this target may be there, so that the engine is to be asked.
    """

    def __init__(
        self,
        process: EngineDriver,
        docker: Callable[[], EngineDriver],
        choice: Choice,
        in_use: Callable[[], bool],
    ) -> None:
        super().__init__(process, docker, choice, in_use)
        self._process = process

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """What both engines have; the container engine is only asked where there may be containers.

        Raises:
            UnavailableError: Neither can be read.
        """
        seen = self._process.observe(known)
        if not self._uses_docker() and not any(resource.kind == "container" for resource in known):
            return seen
        try:
            containers = self._containers().observe(known)
        except TargetError as error:
            if not seen.resources:
                raise
            return Observation(self.target, Completeness.PARTIAL, seen.resources, error.message)
        whole = seen.complete and containers.complete
        missing = "; ".join(part for part in (seen.missing, containers.missing) if part)
        state = Completeness.COMPLETE if whole else Completeness.PARTIAL
        return Observation(self.target, state, {**seen.resources, **containers.resources}, missing)

    def apply(self, change: Change) -> Done | InProgress:
        """Makes one change; see the contract. From the first one on, the engine that `auto` means stays the same."""
        self._choice.keep()
        return self._of(change.id).apply(change)

    def address(self, resource: ResourceId, *, staged: bool = False) -> Address | None:
        """Where a version answers."""
        return self._of(resource).address(resource, staged=staged)

    def logs(self, resource: ResourceId, *, lines: int, follow: bool, stop: threading.Event) -> Iterator[str]:
        """A service's log."""
        return self._of(resource).logs(resource, lines=lines, follow=follow, stop=stop)

    def watch(self, stop: threading.Event) -> Iterator[str]:
        """What either engine says. A container engine that goes away is said once, and asked for until it is back.

        Raises:
            ReconcilerError: The process engine cannot be watched.
        """
        said: Queue[str | Exception] = Queue()
        ended = threading.Event()

        def processes() -> None:
            try:
                for event in self._process.watch(ended):
                    said.put(event)
            except ReconcilerError as error:
                said.put(error)

        def containers() -> None:
            away = False
            while not ended.is_set():
                reason = "it ended its events"
                try:
                    for event in self._containers().watch(ended):
                        away = False
                        said.put(event)
                except ReconcilerError as error:
                    reason = error.message
                if not away and not ended.is_set():
                    said.put(f"container engine: {reason}")
                away = True
                ended.wait(_ENGINE_PAUSE)

        threading.Thread(target=processes, daemon=True).start()
        both = False
        try:
            while not stop.is_set():
                if not both and self._uses_docker():
                    both = True
                    threading.Thread(target=containers, daemon=True).start()
                try:
                    event = said.get(timeout=0.2)
                except Empty:
                    continue
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            ended.set()

    def describable(self) -> Sequence[str]:
        """What either engine has; the container engine is asked wherever there is one."""
        found = list(self._process.describable())
        try:
            found += self._containers().describable()
        except (TargetError, InvalidError):
            if self._counts_on_containers():
                raise
        return found

    def describe(self, name: str, service: str) -> Described | None:
        """A service's folder, else a container, whoever made it.

        Raises:
            RefusedError: The container serves for another service of ours.
            UnavailableError: There is no such folder, and the container engine does not answer.
        """
        found = self._process.describe(name, service)
        if found is not None:
            return self._by_engine(found, PROCESS)
        try:
            found = self._containers().describe(name, service)
        except (TargetError, InvalidError) as error:
            if not self._counts_on_containers():
                return None
            message = (
                f"target {self.target} has no process called {name!r}, and containers are not known: {error.message}"
            )
            raise UnavailableError(message, hint=error.hint) from error
        return self._by_engine(found, DOCKER) if found is not None else None

    def bind(self, name: str, service: str) -> None:
        """Has a container stand where the service's own would."""
        if self._process.describe(name, service) is None:
            self._containers().bind(name, service)

    def _counts_on_containers(self) -> bool:
        return self._uses_docker() or self._chosen()[0] == DOCKER

    def _by_engine(self, found: Described, engine: str) -> Described:
        """What was found, with a word about its engine where services that ask for none go to the other one."""
        asked = None if self._chosen()[0] == engine else engine
        block = {"engine": asked, **found.deployment["local"]}
        return replace(found, deployment={**found.deployment, "local": block})

    def close(self) -> None:
        """Closes both."""
        self._process.close()
        if self._docker_renderer is not None:
            self._containers().close()

    def _of(self, resource: ResourceId) -> EngineDriver:
        return self._containers() if resource.kind == "container" else self._process

    def _containers(self) -> EngineDriver:
        return cast("EngineDriver", self._docker_half())
