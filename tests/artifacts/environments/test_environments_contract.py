"""The driver contract over environments that are really built, from wheels made on the spot."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from reconciler.artifacts.environments.driver import EnvironmentsDriver
from reconciler.artifacts.environments.machine import Machine
from reconciler.artifacts.environments.places import place_of
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.core.deployment import ENVIRONMENTS_TARGET
from reconciler.core.driver import Capabilities
from reconciler.core.resources import Desired, ResourceId
from tests.contract.fixture import DriverFixture
from tests.contract.harness import INSTALLATION
from tests.contract.rules import Contract

from .conftest import OWN
from .wheels import make_runtime_wheels, make_wheel


class PrunedAtOnce(EnvironmentsDriver):
    """Nothing is retained, since the suite waits for no week to pass."""

    @property
    def capabilities(self) -> Capabilities:
        """Without retention."""
        return Capabilities(kinds=frozenset({"environment"}))


class EnvironmentsFixture(DriverFixture):
    """A state directory of its own for each rule."""

    patience: ClassVar[int] = 3000
    cannot: ClassVar[dict[str, str]] = {
        "describable": "an environment is no service; a service's proposal writes its files (tests/acceptance)",
        "move": "an environment belongs to no service: its name is the digest of its inputs",
        "edit": "an environment has no field to edit by hand: damage is tested in test_environments_driver",
        "edit_foreign": "an environment has no foreign fields",
        "condition": "its states follow from files: tested in test_environments_driver",
        "immutable": "its name is the digest of its inputs",
        "secret": "environments hold no secrets",
        "awkward": "the spec is written as it is",
        "staged": "environments are not staged",
        "slow": "builds take real time, which the suite's looks do not wait for: tested in test_environments_driver",
        "slow_delete": "a delete is over at once, but for a build that it ends: tested in test_environments_driver",
        "touch": "only the driver writes its records; a stale version is refused in test_environments_driver",
        "invalid": "the resolver refuses after the call, the next call raises it: tested in test_environments_driver",
        "fail_second_page": "a folder is listed at once",
        "fail": "failures come from uv: tested in test_environments_driver and test_uv_runs",
        "crash": "kills at each stage are tested in test_environments_driver",
    }

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="environments-contract-"))
        self.state = self.root / "state"
        make_runtime_wheels(self.root / "wheels")
        make_wheel(self.root / "wheels", "extra", "1.0")
        self.drivers: list[EnvironmentsDriver] = []

    def make_driver(self, installation: str = INSTALLATION) -> EnvironmentsDriver:
        settings = EnvironmentSettings(
            no_index=True, find_links=(str(self.root / "wheels"),), cache_dir=self.root / "cache"
        )
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.root)}
        machine = Machine((OWN,))
        driver = PrunedAtOnce(self.state, settings, lambda: machine, environ, lambda _: (), installation)
        self.drivers.append(driver)
        return driver

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        identity = hashlib.sha256(name.encode()).hexdigest()
        requirements = {"": ["tiny"], "changed": ["extra"], "more": ["extra", "tiny"]}[variant]
        spec = {"identity": identity, "python": "", "runtime": "python", "requirements": requirements}
        id_ = ResourceId(ENVIRONMENTS_TARGET, "environment", f"py-{identity[:12]}")
        return Desired(id_, {**spec, "rawRequests": False, "built": True})

    def writes(self) -> int:
        return sum(1 for _ in self.state.rglob("*")) + sum(
            path.stat().st_mtime_ns for path in self.state.rglob("*.json")
        )

    def pause(self) -> None:
        time.sleep(0.01)

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
        shutil.rmtree(self.root)

    def remove(self, id_: ResourceId) -> None:
        shutil.rmtree(place_of(self.state, id_.name).folder)

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        folder = place_of(self.state, id_.name).folder
        folder.mkdir(parents=True)
        (folder / "theirs").write_text("theirs")
        return lambda: [path.name for path in folder.iterdir()] == ["theirs"]

    def copy(self, id_: ResourceId) -> ResourceId:
        twin = ResourceId(id_.target, id_.kind, "py-cccccccccccc")
        shutil.copytree(place_of(self.state, id_.name).folder, place_of(self.state, twin.name).folder, symlinks=True)
        assert json.loads(place_of(self.state, twin.name).marker.read_text())["mark"]["self"] == str(id_)
        return twin

    def down(self) -> None:
        (self.state / "environments").rename(self.state / "elsewhere")
        (self.state / "environments").write_text("not a folder")


@pytest.mark.long
class TestEnvironments(Contract):
    """Environments, built for real."""

    fixture = EnvironmentsFixture
