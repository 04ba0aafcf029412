"""A local target's two engines when rendering: each service goes to the one that it, or else the target, asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from reconciler.core.dataclass import replace
from reconciler.core.deployment import Deployment
from reconciler.core.driver import Capabilities, Renderer
from reconciler.core.resources import Desired

DOCKER = "docker"
PROCESS = "process"


class Choice(Protocol):
    """Which engine services go to that ask for none."""

    def find(self) -> tuple[str, str]:
        """The engine, and in words why, where that is worth saying."""
        ...

    def keep(self) -> None:
        """Records it, so that it does not change when an engine comes or goes."""
        ...


class LocalRenderer:
    """Implements `core.driver.Renderer` over those of the engines.

    Args:
        docker: The docker engine's, made when first needed.
        choice: The engine of services that ask for none, and why.
        in_use: Whether containers of this target may be there.
    """

    def __init__(
        self, process: Renderer, docker: Callable[[], Renderer], choice: Choice, in_use: Callable[[], bool]
    ) -> None:
        self._process_renderer = process
        self._make_docker = docker
        self._docker_renderer: Renderer | None = None
        self._choice = choice
        self._in_use = in_use
        self._rendered = False
        self._found: tuple[str, str] | None = None
        self._lock = threading.Lock()

    @property
    def target(self) -> str:
        """The target's name."""
        return self._process_renderer.target

    @property
    def capabilities(self) -> Capabilities:
        """Those of the engines in use, together."""
        own = self._process_renderer.capabilities
        if not self._uses_docker():
            return own
        other = self._docker_half().capabilities
        return replace(
            own,
            kinds=own.kinds | other.kinds,
            stages=own.stages | other.stages,
            endpoints=own.endpoints | other.endpoints,
            hands_over=(*own.hands_over, *other.hands_over),
            in_place=(*(f"process:{p}" for p in own.in_place), *(f"container:{p}" for p in other.in_place)),
            restarts=tuple(f"container:{p}" for p in other.restarts),
        )

    def surroundings(self) -> Mapping[str, Any]:
        """Which engine this machine has for services that ask for none, and whether containers count here."""
        engine, why = self._chosen()
        return {"engine": engine, "why": why, "containers": self._uses_docker()}

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """One process group or one container a service. Pure."""
        asked = deployment.settings.block.get("engine") or "auto"
        engine, why = (asked, "") if asked != "auto" else self._chosen()
        if engine == DOCKER:
            self._rendered = True
        found = (self._docker_half() if engine == DOCKER else self._process_renderer).render(deployment)
        return [replace(one, summary=f"{one.summary} ({why})") for one in found] if why else found

    def _chosen(self) -> tuple[str, str]:
        """The engine of services that ask for none; looked for once."""
        with self._lock:
            if self._found is None:
                self._found = self._choice.find()
            return self._found

    def _docker_half(self) -> Renderer:
        with self._lock:
            if self._docker_renderer is None:
                self._docker_renderer = self._make_docker()
            return self._docker_renderer

    def _uses_docker(self) -> bool:
        return self._rendered or self._in_use()
