"""Environments built from wheels made on the spot, below a state directory of their own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from reconciler.artifacts.environments.driver import EnvironmentsDriver
from reconciler.artifacts.environments.interpreters import Interpreter
from reconciler.artifacts.environments.machine import Machine
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.core.change import Action, Change
from reconciler.core.deployment import Environment, File
from reconciler.core.driver import Done, InProgress
from reconciler.core.resources import Desired, Mark, Observed

from .wheels import make_runtime_wheels

OWN = Interpreter(tuple(sys.version_info[:3]), Path(sys.executable).resolve())


@dataclass
class Bench:
    """A driver with its wheels, and the loop an engine would run around it."""

    state: Path
    wheels: Path
    settings: EnvironmentSettings
    drivers: list[EnvironmentsDriver] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    patience: float = 60.0

    def driver(self, **changes: object) -> EnvironmentsDriver:
        """A fresh driver on the same state, as after a restart."""
        settings = replace(self.settings, **changes)
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.state.parent), "UV_HTTP_RETRIES": "0"}
        made = EnvironmentsDriver(self.state, settings, lambda: Machine((OWN,)), environ, lambda _: self.users)
        self.drivers.append(made)
        return made

    def change(self, driver: EnvironmentsDriver, environment: Environment, action: Action = Action.CREATE) -> Change:
        """The change an engine would plan."""
        desired = driver.render_environment(environment)
        return Change(desired.id, action, desired=desired, mark=mark_of(desired))

    def settle(self, driver: EnvironmentsDriver, change: Change) -> Observed | None:
        """Applies until it is done, as the engine does."""
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            result = driver.apply(change)
            if isinstance(result, Done):
                return result.answered
            assert isinstance(result, InProgress)
            wait_for(
                lambda: not any(item.busy for item in driver.observe([change.id]).resources.values()), self.patience
            )
        raise AssertionError("not done in time")

    def build(self, driver: EnvironmentsDriver, environment: Environment) -> Observed:
        """Creates an environment and waits for it."""
        answered = self.settle(driver, self.change(driver, environment))
        assert answered is not None
        return answered


def mark_of(desired: Desired, installation: str = "here") -> Mark:
    """Our mark for a resource."""
    return Mark(installation, "", "main@sha1:1", desired.spec_digest, str(desired.id))


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Polls a condition until it holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        time.sleep(0.02)


def conda(text: str) -> Environment:
    """An environment from the text of a conda file."""
    return Environment(conda_file=File("inference/conda.yml", "", text.encode()))


@pytest.fixture(scope="session")
def runtime_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stand-ins of the runtime's wheels; copied by tests that add some."""
    folder = tmp_path_factory.mktemp("wheels")
    make_runtime_wheels(folder)
    return folder


@pytest.fixture
def bench(tmp_path: Path, runtime_wheels: Path) -> Iterator[Bench]:
    """A bench whose drivers are closed at the end."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for wheel in runtime_wheels.iterdir():
        os.link(wheel, wheels / wheel.name)
    settings = EnvironmentSettings(
        no_index=True, find_links=(str(wheels),), cache_dir=tmp_path / "cache", resolve_seconds=60, build_seconds=120
    )
    made = Bench(tmp_path / "state", wheels, settings)
    yield made
    for driver in made.drivers:
        driver.close()
