"""The fixture of the memory driver: a world per rule, every hook there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from reconciler.core.deployment import Deployment, EntryScript, Environment, ModelVersion, Settings, Target
from reconciler.core.described import Described
from reconciler.core.errors import (
    AccessError,
    BusyError,
    ConflictError,
    TargetError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.resources import Desired, Health, ResourceId
from reconciler.core.secrets import seal
from reconciler.core.values import digest
from reconciler.targets.memory import Crashed, Fault, MemoryDriver, World
from reconciler.targets.memory.native import HEALTH, canon
from reconciler.targets.memory.render import render

from .fixture import DriverFixture
from .harness import INSTALLATION

ENTRY = EntryScript("score.py", "", "5" * 40)
CLASSES: dict[str, type[TargetError]] = {
    "401": AccessError,
    "403": AccessError,
    "404": ConflictError,
    "409": BusyError,
    "412": ConflictError,
    "429": ThrottledError,
}


def key_of(id_: ResourceId) -> str:
    """A resource's key in the world."""
    return f"{id_.kind}/{id_.name}"


class MemoryFixture(DriverFixture):
    """Over the kind `plain`, which is not staged; `MemoryStagedFixture` is the same over `service`."""

    kind: ClassVar[str] = "plain"
    driver_class: ClassVar[type[MemoryDriver]] = MemoryDriver
    states = (*HEALTH, "nobody-knows")

    def __init__(self) -> None:
        self.world = World()

    def make_driver(self, installation: str = INSTALLATION) -> MemoryDriver:
        return self.driver_class("mem", self.world, installation)

    def _make(self, name: str, **fields: Any) -> Desired:
        spec = {"environmentVariables": {"A": "1"}, "replicas": 1, "models": [{"name": "m", "version": "1"}], **fields}
        return Desired(ResourceId("mem", self.kind, name), canon(spec), name)

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        variants = {"": {}, "changed": {"replicas": 2}, "more": {"extra": {"deep": [1, 2]}, "ports": [80]}}
        return self._make(name, **variants[variant])

    def writes(self) -> int:
        return len(self.world.writes)

    def edit(self, id_: ResourceId) -> str:
        self.world.edit(key_of(id_), "/env/0/value", "by hand")
        return "/environmentVariables/A"

    def edit_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        self.world.edit(key_of(id_), "/annotation", "theirs")
        return lambda: (self.world.native(key_of(id_)) or {}).get("annotation") == "theirs"

    def touch(self, id_: ResourceId) -> None:
        self.edit_foreign(id_)

    def remove(self, id_: ResourceId) -> None:
        self.world.remove(key_of(id_))

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        self.world.put_foreign(key_of(id_), {"replicas": 7})
        before = self.world.native(key_of(id_))
        return lambda: self.world.native(key_of(id_)) == before and self.world.mark(key_of(id_)) is None

    def copy(self, id_: ResourceId) -> ResourceId:
        twin = ResourceId(id_.target, id_.kind, id_.name + "-copy")
        self.world.copy(key_of(id_), key_of(twin))
        return twin

    def condition(self, id_: ResourceId, state: str) -> Health:
        self.world.condition(key_of(id_), state)
        return {**HEALTH, "nobody-knows": Health.UNKNOWN}[state]

    def immutable(self, name: str, variant: str) -> Desired:
        return self._make(name, zone=variant)

    def secret(self, name: str, text: str) -> Desired:
        return self._make(name, secrets={"TOKEN": seal(b"key", text)})

    def hidden(self, id_: ResourceId) -> str:
        return self.world.hidden(key_of(id_))["TOKEN"]

    def awkward(self, name: str) -> Desired:
        return self._make(name, cpuCores=1.5, memoryGb=2, ports=[443, 80], environmentVariables={"Z": "1", "B": "2"})

    def invalid(self, name: str) -> Desired:
        return self._make(name, invalid=True)

    def staged(self, name: str, variant: str = "") -> Desired:
        plain = self.desired(name, variant)
        return Desired(ResourceId("mem", "service", name), plain.spec, plain.service)

    def move(self, name: str) -> Desired:
        return self.desired(name)

    def describable(self, name: str) -> Desired:
        return self._deployed(
            name,
            {"zone": "a", "ports": [80, 443], "labels": {"team": "x"}, "plain": self.kind == "plain"},
            models=(("m", "3"),),
            port=8080,
            cpu_cores=1.5,
            memory_gb=2.0,
            replicas=3,
            environment_variables={"A": "1", "B": "two"},
        )

    def redeployed(self, found: Described) -> Desired:
        told = dict(found.deployment)
        block = {key: value for key, value in told.pop("memory").items() if value is not None}
        assert found.code is not None
        assert (found.code.script, found.code.object_id) == (ENTRY.path, ENTRY.object_id)
        settings = {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): v for key, v in told.items()}
        return self._deployed(found.observed.id.name, block, found.models, **settings)

    def _deployed(
        self, name: str, block: Mapping[str, Any], models: Sequence[tuple[str, str]], **settings: Any
    ) -> Desired:
        versions = tuple(ModelVersion(model, version, f"sha256:{model}{version}") for model, version in models)
        own = {key: value for key, value in settings.items() if value is not None}
        deployment = Deployment(
            name, Target("mem", "memory"), versions, ENTRY, Environment(), settings=Settings(**own, block=block)
        )
        (desired,) = render(deployment)
        return replace(desired, depends_on=())

    def down(self) -> None:
        self.world.fault(Fault("*", "broken", times=-1))

    def fail_second_page(self) -> None:
        self.world.page_size(2)
        self.world.fault(Fault("list", "500", page=2))

    def slow(self) -> None:
        for op in ("write", "stage"):
            self.world.slow(op, 3)

    def slow_delete(self) -> None:
        self.world.slow("delete", 3)

    def fail(self, failure: str, when: str = "before", times: int = 1) -> type[TargetError]:
        wait = 7.0 if failure == "429" else None
        self.world.fault(Fault("write", failure, when, times=times, retry_after=wait))
        return CLASSES.get(failure, UnavailableError)

    def crash(self, when: str, write: int) -> type[BaseException]:
        self.world.clear_faults()
        if write:
            for op in ("write", "rename", "delete"):
                self.world.fault(Fault(op, "crash", when, skip=write - 1))
        return Crashed


class MemoryStagedFixture(MemoryFixture):
    """The same rules over the kind that is staged, tested and promoted."""

    kind = "service"


class SourceFixture(MemoryFixture):
    """The kind whose outputs exist only after it was applied."""

    kind = "source"

    @staticmethod
    def output(content: object) -> str:
        """What a source of that content gives."""
        return f"sha256:{digest(content)}"
