"""What renders with a snapshot renders as the installation did that published it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.artifacts.environments.interpreters import Interpreter
from reconciler.artifacts.environments.machine import Machine
from reconciler.artifacts.environments.render import EnvironmentRenderer
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.core.contents import Revision
from reconciler.core.deployment import Deployment, EntryScript, Environment, ModelVersion, Target
from reconciler.core.driver import Renderer
from reconciler.core.errors import InvalidError
from reconciler.engine.known import Known
from reconciler.engine.snapshot.document import Snapshot, from_text, to_text
from reconciler.settings import Settings
from reconciler.targets.local.docker.render import DockerRenderer
from reconciler.targets.local.process.render import ProcessRenderer
from reconciler.targets.local.render import LocalRenderer
from reconciler.wiring.clusters import aks_renderer
from reconciler.wiring.containers import naming
from reconciler.wiring.surroundings import registries_as, settings_told, target_as
from tests.targets.aks.samples import deployment

LAPTOP = Target("laptop", "local", {"engine": "auto"})
MODEL = ModelVersion("ridge", "2", "sha256:" + "0" * 64)
OLD = Environment(python="3.8", requirements=("a",))
SERVICE = Deployment("diabetes", LAPTOP, (MODEL,), EntryScript("score.py", "src", "a" * 40), OLD)


class Here:
    """The engine of a machine."""

    def __init__(self, engine: str, why: str) -> None:
        self.found = engine, why

    def find(self) -> tuple[str, str]:
        """As it is."""
        return self.found

    def keep(self) -> None:
        """Nothing."""


class Forgetful:
    """A memory that has nothing."""

    def fact(self, name: str, key: str) -> Any:
        """Never known."""

    def remember(self, name: str, key: str, value: Any) -> None:
        """Forgets it."""


def published(surroundings: dict[str, Any]) -> Snapshot:
    """A snapshot that tells them, after it went through its text."""
    made = Snapshot(Known("rc-1"), 1.0, "https://git.example/ml", "", Revision("1"), {}, surroundings=surroundings)
    return from_text(to_text(made))


def alike(one: Renderer, other: Renderer) -> None:
    """Both render a service to the same, and can do the same."""
    assert list(one.render(SERVICE)) == list(other.render(SERVICE))
    assert one.capabilities == other.capabilities


@pytest.mark.parametrize("in_use", [True, False])
@pytest.mark.parametrize("found", [("docker", ""), ("process", "there is no engine"), ("docker", "podman")])
@pytest.mark.parametrize(
    "settings",
    [
        None,
        Settings.model_validate({"docker": {"volumes": ["/data"]}, "images": {"registry": "r.example/ml"}}),
    ],
    ids=["defaults", "settings"],
)
def test_a_local_target(found: tuple[str, str], in_use: bool, settings: Settings | None) -> None:
    """With the engine that was found there, its registry and its folders, whatever there is here."""
    own = LocalRenderer(
        ProcessRenderer("laptop"),
        lambda: DockerRenderer("laptop", naming(settings), here=True),
        Here(*found),
        lambda: in_use,
    )
    told = {**settings_told(settings), "laptop": own.surroundings()}
    alike(own, target_as(published(told), LAPTOP))


def test_a_cluster() -> None:
    """With the registry that images are pushed to there: without it there would be nothing to pull."""
    settings = Settings.model_validate({"images": {"registry": "r.example/ml"}})
    made = deployment()
    told = published(dict(settings_told(settings)))
    own = aks_renderer(made.target, settings)
    assert list(target_as(told, made.target).render(made)) == list(own.render(made))


def test_the_registries() -> None:
    """With the Pythons that are there: one that is missing is overridden as there, with the same words."""
    nowhere = Path("/nowhere")
    machine = Machine((Interpreter((3, 11, 7), nowhere), Interpreter((3, 12), nowhere)), nowhere)
    own = EnvironmentRenderer(EnvironmentSettings(), lambda: machine)
    told = {**settings_told(None), "registry/environments": own.surroundings()}
    _, environments, images, _ = registries_as(published(told), Forgetful())
    alike(own, environments)
    assert next(iter(own.render(SERVICE))).warnings
    assert images.capabilities.kinds


def test_a_target_of_which_nothing_is_told_renders_as_offline() -> None:
    """A pull request may add one."""
    made = target_as(published({}), LAPTOP)
    assert [desired.id.kind for desired in made.render(SERVICE)] == ["process"]


@pytest.mark.parametrize(
    "surroundings",
    [
        {"laptop": 1},
        {"laptop": {"engine": "docker"}, "settings": []},
        {"laptop": {"engine": "docker"}, "settings": {"volumes": 1}},
    ],
)
def test_what_makes_no_sense_is_told(surroundings: dict[str, Any]) -> None:
    """One error with a way on."""
    with pytest.raises(InvalidError, match="does not say what rendering depends on") as caught:
        target_as(published(surroundings), LAPTOP).render(SERVICE)
    assert caught.value.hint
