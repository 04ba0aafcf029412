"""What an image is called and what its Dockerfile says; pure, no engine."""

from __future__ import annotations

from dataclasses import replace

from reconciler.artifacts.images.recipe import Recipe
from reconciler.artifacts.images.render import ImageRenderer, python_for
from reconciler.artifacts.images.settings import ImageSettings
from reconciler.core.deployment import (
    Deployment,
    EntryScript,
    Environment,
    File,
    ImageInputs,
    ModelVersion,
    Registry,
    Target,
)
from reconciler.core.images import image_name
from reconciler.core.policy import FieldPolicy

BASE = "python:{python}-slim"
DEPLOYMENT = Deployment(
    "diabetes",
    Target("laptop", "local"),
    (ModelVersion("Diabetes Ridge", "1", "sha256:" + "a" * 64, path="models/m.pkl"),),
    EntryScript("score.py", "inference", "1" * 40),
    Environment(requirements=("numpy==2.0.0",)),
)


def renamed(**changes: object) -> str:
    """The identity of the same deployment with something else in it."""
    return image_name(replace(DEPLOYMENT, **changes), BASE).identity  # type: ignore[arg-type]


def test_every_declared_input_is_part_of_the_identity() -> None:
    """A change of any of them gives another image; what has nothing to do with it gives the same."""
    same = image_name(DEPLOYMENT, BASE).identity
    changed = [
        renamed(models=(replace(DEPLOYMENT.models[0], digest="sha256:" + "b" * 64),)),
        renamed(models=(replace(DEPLOYMENT.models[0], version="2"),)),
        renamed(models=()),
        renamed(entry=replace(DEPLOYMENT.entry, object_id="2" * 40)),
        renamed(entry=replace(DEPLOYMENT.entry, path="other.py")),
        renamed(environment=Environment(requirements=("numpy==2.0.1",))),
        renamed(image=ImageInputs(base_image="debian:12")),
        renamed(image=ImageInputs(registry=Registry("registry.example"))),
        renamed(image=ImageInputs(extra_steps=File("steps", "3" * 40, b"RUN true\n"))),
        renamed(image=ImageInputs(enable_gpu=True)),
    ]
    assert image_name(DEPLOYMENT, "debian:12").identity == renamed(image=ImageInputs(base_image="debian:12"))
    assert len({same, *changed}) == len(changed) + 1
    assert renamed(service="another", description="words", tags={"a": "b"}) == same


def test_the_name_is_known_before_anything_is_built() -> None:
    """It follows from the model, is a valid reference, and the plan's resource is called by it."""
    name = image_name(DEPLOYMENT, BASE)
    assert name.reference("") == f"reconciler/diabetes-ridge:{name.identity[:12]}"
    assert name.reference("my.azurecr.io/ml") == f"my.azurecr.io/ml/diabetes-ridge:{name.identity[:12]}"
    assert str(name.id) == f"registry/images/image/diabetes-ridge:{name.identity[:12]}"
    assert image_name(replace(DEPLOYMENT, models=()), BASE).repository == "score"


def test_models_come_last_and_nothing_needs_buildkit() -> None:
    """A new model version changes the last layer alone; the classic builder understands every line."""
    lines = Recipe("python:3.11-slim", "score.py", [("m", "1")], extra_steps="RUN echo extra").dockerfile().splitlines()
    assert lines[-1] == "COPY models/ /var/azureml-app/azureml-models/"
    assert [line for line in lines if line.startswith("FROM")] == [
        "FROM python:3.11-slim AS build",
        "FROM python:3.11-slim",
    ]
    assert not [line for line in lines if "--mount" in line or "<<" in line or line.startswith("# syntax")]
    assert lines.index("RUN echo extra") < lines.index("COPY --from=build /opt/reconciler/venv /opt/reconciler/venv")
    assert "USER 65532:65532" in lines
    assert any(line.startswith("HEALTHCHECK") for line in lines)


def test_one_model_gives_its_folder_several_give_the_root() -> None:
    """AZUREML_MODEL_DIR is what it was in Azure ML."""
    one = Recipe("b", "score.py", [("m", "3")]).dockerfile()
    two = Recipe("b", "score.py", [("m", "3"), ("n", "1")]).dockerfile()
    assert 'AZUREML_MODEL_DIR="/var/azureml-app/azureml-models/m/3"' in one
    assert 'AZUREML_MODEL_DIR="/var/azureml-app/azureml-models"' in two


def test_a_new_release_of_this_program_rebuilds_nothing() -> None:
    """Recipe and runtime are recorded, not compared; the name does not follow from them."""
    (old,) = ImageRenderer(ImageSettings(), "1.0.0").render(DEPLOYMENT)
    (new,) = ImageRenderer(ImageSettings(), "2.0.0").render(DEPLOYMENT)
    assert old.id == new.id
    assert old.spec["runtime"] != new.spec["runtime"]
    assert {new.policy.of_field("image", f"/{field}") for field in ("runtime", "recipe")} == {FieldPolicy.CREATE_ONLY}


def test_a_ready_made_image_is_not_built() -> None:
    """Nothing is to be made where the inference config names an image."""
    ready = replace(DEPLOYMENT, image=ImageInputs(image="registry.example/scorer:1"))
    assert list(ImageRenderer(ImageSettings(), "1").render(ready)) == []


def test_the_default_base_follows_the_declared_python() -> None:
    """The environment's Python where there is an image of it, else the one we test with."""
    assert [python_for(declared) for declared in ("", "==3.12.*", ">=3.13", "==3.6.2", "nonsense")] == [
        "3.11",
        "3.12",
        "3.13",
        "3.11",
        "3.11",
    ]
