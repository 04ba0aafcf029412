"""The contract over the docker engine: a real engine, real containers, a target of its own for each rule."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reconciler.containers.engine import Engine
from reconciler.containers.place import EnginePlace
from reconciler.core.change import Action, Change
from reconciler.core.deployment import Auth, Deployment, EntryScript, Environment, ImageInputs, Settings, Target
from reconciler.core.described import Described
from reconciler.core.errors import TargetError
from reconciler.core.resources import Desired, Mark, ResourceId
from reconciler.core.secrets import Secret, SecretRef, seal
from reconciler.targets.local.docker.driver import DockerDriver
from reconciler.targets.local.docker.render import Naming
from reconciler.targets.local.docker.swap import Parts
from reconciler.targets.local.keys import key_digests
from tests.containers.engine import REGISTRY, Proxy, docker, engine, remove_all, standin

from .fixture import DriverFixture
from .harness import INSTALLATION
from .manifests import redeployed
from .rules import Contract

pytestmark = pytest.mark.long


def _reveal(secret: Secret | SecretRef) -> str:
    return secret.reveal() if isinstance(secret, Secret) else f"key of {secret.name}"


class DockerFixture(DriverFixture):
    """Containers whose names begin with a prefix of this fixture's own."""

    patience = 600
    cannot: ClassVar[dict[str, str]] = {
        "edit_foreign": "nothing of anybody else can be set on a container",
        "immutable": "every field can change: a new version is staged beside the old one",
        "fail_second_page": "containers are listed at once",
        "condition": "its states are those of real containers, each brought about in tests/targets/docker",
        "slow_delete": "draining is shown in tests/targets/docker",
        "fail": "what the engine answers is shown on real failures in tests/targets/docker",
        "crash": "a kill between any two calls is in tests/targets/docker",
    }

    def __init__(self, folder: Path) -> None:
        self.engine = engine()
        self.image = standin()
        self.target = f"t{secrets.token_hex(4)}"
        self.folder = folder
        self.slowly = False
        self.volumes: tuple[str, ...] = ()
        self.proxy = Proxy(self.engine.place.url.removeprefix("unix://"), folder / "docker.sock")
        self.drivers: list[DockerDriver] = []

    def make_driver(self, installation: str = INSTALLATION) -> DockerDriver:
        parts = Parts(_reveal, lambda text: seal(b"key", text), lambda s: key_digests(_reveal, s), lambda _: None)
        own = Engine(EnginePlace(self.proxy.url))
        naming = Naming("python:{python}-slim", volumes=self.volumes)
        driver = DockerDriver(self.target, installation, own, parts, naming, self.folder / "records")
        self.drivers.append(driver)
        return driver

    def _desired(self, name: str, *, block: dict[str, Any] | None = None, **settings: Any) -> Desired:
        variables = dict(settings.pop("environment_variables", {}))
        if self.slowly:
            variables["SLOW"] = "4"
        deployment = Deployment(
            name,
            Target(self.target, "local"),
            (),
            EntryScript("score.py", "", "0" * 40),
            Environment(),
            ImageInputs(image=self.image),
            Auth(),
            Settings(environment_variables=variables, block=block or {}, drain_seconds=1, **settings),
        )
        (desired,) = self.make_driver().render(deployment)
        # The stand-in takes the runtime's arguments, so it is treated as an image that was built.
        spec = {key: value for key, value in desired.spec.items() if key != "readyMade"}
        return replace(desired, spec=spec)

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        variants: dict[str, dict[str, Any]] = {
            "": {},
            "changed": {"scoring_timeout_ms": 30_000},
            "more": {"environment_variables": {"EXTRA": "1"}, "memory_gb": 0.5},
        }
        return self._desired(name, **variants[variant])

    def staged(self, name: str, variant: str = "") -> Desired:
        return self.desired(name, variant)

    def move(self, name: str) -> Desired:
        return self.desired(name)

    def describable(self, name: str) -> Desired:
        return self._desired(
            name,
            cpu_cores=0.5,
            memory_gb=0.25,
            max_concurrent_requests=2,
            max_request_wait_time=700,
            cors_origins=("https://b", "https://a"),
            environment_variables={"A": "1", "EMPTY": "", "NOT_A_KEY": "plain"},
            block={"restart": "always", "readOnly": False, "logMaxMb": 2.5, "logFiles": 3, "openFiles": 2048},
        )

    def redeployed(self, found: Described) -> Desired:
        made = redeployed(found, self.make_driver())
        return replace(made, spec={key: value for key, value in made.spec.items() if key != "readyMade"})

    def awkward(self, name: str) -> Desired:
        return self._desired(
            name,
            cpu_cores=1.0,
            memory_gb=1.0,
            cors_origins=("https://b", "https://a"),
            environment_variables={"Z": "1", "A": "2"},
        )

    def secret(self, name: str, text: str) -> Desired:
        return self._desired(name, environment_variables={"TOKEN": seal(b"key", text)})

    def hidden(self, id_: ResourceId) -> str:
        listed = docker("exec", self._name(id_), "env")
        return next(line.partition("=")[2] for line in listed.splitlines() if line.startswith("TOKEN="))

    def invalid(self, name: str) -> Desired:
        desired = self.desired(name)
        return replace(desired, spec={**desired.spec, "image": f"{REGISTRY}/nowhere:1", "readyMade": True})

    def _name(self, id_: ResourceId) -> str:
        return f"{self.target}.{id_.name}"

    def writes(self) -> int:
        """The newest moment at which anything of ours was made, started or changed, as a number of states seen."""
        names = docker("ps", "--all", "--no-trunc", "--format", "{{.ID}}", "--filter", f"name=^{self.target}").split()
        seen = [self.engine.inspect(name) for name in sorted(names)]
        text = repr([(s["Id"], s["State"], s["HostConfig"], s["Name"]) for s in seen if s])
        return int.from_bytes(text.encode()[-8:], "big") ^ hash(text)

    def pause(self) -> None:
        # Between two looks at what another process does; `patience` is the deadline.
        time.sleep(0.05)

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
        self.proxy.close()
        remove_all(f"{self.target}.")
        self.engine.close()

    def edit(self, id_: ResourceId) -> str:
        docker("update", "--restart", "on-failure:3", self._name(id_))
        return "/restart"

    def touch(self, id_: ResourceId) -> None:
        driver = self.make_driver()
        desired = self.desired(id_.name)
        mark = Mark(INSTALLATION, desired.service, "touched", desired.spec_digest, str(id_))
        driver.apply(Change(id_, Action.UPDATE, desired=desired, mark=mark))

    def remove(self, id_: ResourceId) -> None:
        docker("rm", "--force", self._name(id_))

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        made = docker("run", "--detach", "--name", self._name(id_), self.image)
        return lambda: docker("inspect", "--format", "{{.Id}} {{.State.Status}}", self._name(id_)) == f"{made} running"

    def copy(self, id_: ResourceId) -> ResourceId:
        twin = id_._replace(name=id_.name + "-copy")
        report = self.engine.inspect(self._name(id_))
        assert report is not None
        labels = [f"--label={name}={value}" for name, value in report["Config"]["Labels"].items()]
        docker("run", "--detach", "--name", self._name(twin), *labels, self.image)
        return twin

    def down(self) -> None:
        self.proxy.close()

    def slow(self) -> None:
        self.slowly = True


class TestDocker(Contract):
    """Staged on a network of its own, promoted by swapping networks."""

    fixture = DockerFixture

    def make(self, tmp_path: Path) -> DockerFixture:
        return DockerFixture(tmp_path)


def test_an_engine_that_is_not_there_is_told_with_a_way_on() -> None:
    """No traceback, no hang: what does not answer is named."""
    with pytest.raises(TargetError) as caught:
        Engine(EnginePlace("unix:///nowhere/docker.sock")).version()
    assert "unix:///nowhere/docker.sock" in caught.value.message
    assert "dockerHost" in caught.value.hint
