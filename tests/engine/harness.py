"""A whole reconciler over memory targets, without Git: what is wanted is given as resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.contents import Revision
from reconciler.core.deployment import Target
from reconciler.core.driver import Driver
from reconciler.core.policy import Policy
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.secrets import Secret
from reconciler.core.smoke import SmokeTest
from reconciler.core.values import Unknown
from reconciler.engine.clock import Cancel, Clock
from reconciler.engine.desired import DesiredState
from reconciler.engine.outcome import ApplyOptions, Outcome
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.store import Store
from reconciler.targets.memory.driver import MemoryDriver
from reconciler.targets.memory.world import World

INSTALLATION = "rc-test"


def service(name: str, target: str = "east", **more: Any) -> Desired:
    """A service that can be staged; `needs` are ids, everything else is spec."""
    needs = tuple(ResourceId.parse(text) for text in more.pop("needs", ()))
    tests = tuple(more.pop("tests", ()))
    policy = more.pop("policy", Policy())
    kind = more.pop("kind", "service")
    spec = {"image": "one", **more}
    return Desired(ResourceId(target, kind, name), spec, name, needs, policy, tests=tests)


def source(name: str, content: str, target: str = "east") -> Desired:
    """Something whose digest exists only once it was made."""
    return Desired(ResourceId(target, "source", name), {"content": content}, name)


def digest_of(desired: Desired) -> Unknown:
    """The digest that a source will have."""
    return Unknown(str(desired.id), "/digest")


ALWAYS_FINE = SmokeTest("answers", request={"data": [1]}, expect={"status": 200})


@dataclass
class House:
    """A reconciler over some worlds, and whatever other targets there are; `want` says what Git says now."""

    store: Store
    clock: Clock
    worlds: Mapping[str, World]
    wanted: Sequence[Desired] = ()
    whole: bool = True
    number: int = 0
    environment: str = ""
    approval: frozenset[str] = frozenset()
    others: Mapping[str, Driver] = field(default_factory=dict[str, Driver])
    keys: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    on_progress: Callable[[Any], None] = lambda event: None
    reconciler: Reconciler = field(init=False)

    def __post_init__(self) -> None:
        memories = {name: MemoryDriver(name, world, INSTALLATION) for name, world in self.worlds.items()}
        self.drivers: Mapping[str, Driver] = {**memories, **self.others}
        self.reconciler = Reconciler(
            lambda: None,  # type: ignore[arg-type, return-value]
            self,
            lambda targets: ({n: self.drivers[n] for n in targets if n in self.drivers}, []),
            [],
            self.store,
            self.clock,
            INSTALLATION,
        )

    def of(self, tree: object) -> DesiredState:
        """The desired state, as the engine asks for it."""
        services = frozenset(d.service for d in self.wanted if d.service)
        targets = {name: Target(name, "memory") for name in self.drivers}
        revision = Revision(f"{self.number:040x}", "main")
        desired = tuple(self.wanted)
        return DesiredState(
            revision,
            desired,
            targets,
            services,
            frozenset(),
            self.whole,
            (),
            (),
            self.keys,
            environment=self.environment,
            approval=self.approval,
        )

    def want(self, *desired: Desired) -> House:
        """A new commit."""
        self.wanted, self.number = desired, self.number + 1
        return self

    def go(self, cancel: Cancel | None = None, **options: Any) -> Outcome:
        """One reconcile, under the lease."""
        with self.store.writing("test"):
            look = self.reconciler.look(holds=not options.get("ignore_holds", False))
            return self.reconciler.carry_out(look, ApplyOptions(**options), self.on_progress, cancel)

    def plan(self) -> Any:
        """What would be done now."""
        return self.reconciler.look().plan
