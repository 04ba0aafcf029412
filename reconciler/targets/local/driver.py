"""A local target with both of its engines: each service goes to the one that it, or else the target, asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Queue
from typing import Protocol, cast

from reconciler.core.change import Change
from reconciler.core.described import Described
from reconciler.core.driver import Address, Describes, Done, Driver, Endpoint, Events, InProgress, Logs
from reconciler.core.errors import ReconcilerError, TargetError
from reconciler.core.resources import Completeness, Observation, ResourceId
from reconciler.targets.local.render import Choice, LocalRenderer

_ENGINE_PAUSE = 1.0  # seconds until a container engine that went away is asked for again


class EngineDriver(Driver, Endpoint, Logs, Events, Protocol):
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
        """What either engine has, as far as its driver can tell."""
        return [name for engine in self._describing() for name in engine.describable()]

    def describe(self, name: str, service: str) -> Described | None:
        """A service of either engine."""
        for engine in self._describing():
            found = engine.describe(name, service)
            if found is not None:
                return found
        return None

    def bind(self, name: str, service: str) -> None:
        """Has what is named otherwise stand where the service's own would."""
        for engine in self._describing():
            if engine.describe(name, service) is not None:
                engine.bind(name, service)
                return

    def _describing(self) -> list[Describes]:
        engines = (self._process, *((self._containers(),) if self._uses_docker() else ()))
        return [engine for engine in engines if isinstance(engine, Describes)]

    def close(self) -> None:
        """Closes both."""
        self._process.close()
        if self._docker_renderer is not None:
            self._containers().close()

    def _of(self, resource: ResourceId) -> EngineDriver:
        return self._containers() if resource.kind == "container" else self._process

    def _containers(self) -> EngineDriver:
        return cast("EngineDriver", self._docker_half())
