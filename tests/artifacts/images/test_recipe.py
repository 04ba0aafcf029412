"""What an image is called and what its Dockerfile says; pure, no engine."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from reconciler.artifacts.environments.declared import declared
from reconciler.artifacts.images.base import read_probe
from reconciler.artifacts.images.recipe import Recipe
from reconciler.artifacts.images.render import ImageRenderer, python_for, registry_host
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
from reconciler.core.errors import InvalidError, TerminalError
from reconciler.core.images import RUNTIME_INTERFACE, image_name
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
    labelled = Recipe("b", "score.py", [], stage="abc", labels={"a": 'x "y"'}).dockerfile().splitlines()
    assert labelled[-1] == r'LABEL a="x \"y\""'
    assert [n for n, line in enumerate(labelled) if line == 'LABEL dev.reconciler.image.stage="abc"'] == [
        n + 1 for n, line in enumerate(labelled) if line.startswith("FROM")
    ]
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


CONDA = File(
    "conda.yml",
    "4" * 40,
    b"channels: [bioconda, conda-forge]\ndependencies:\n- python=3.12\n- openjdk=11\n- numpy\n- conda-forge::libgomp\n",
)


def test_what_only_conda_has_is_refused_with_its_line_unless_the_base_image_brings_conda() -> None:
    """Without the word in the manifest each line is a problem in the plan; with it they are for conda."""
    environment = Environment(conda_file=CONDA)
    with pytest.raises(InvalidError) as caught:
        ImageRenderer(ImageSettings(), "1").render(replace(DEPLOYMENT, environment=environment))
    assert [(str(p.position), p.code) for p in caught.value.problems] == [
        ("conda.yml:4:3", "no-pypi-twin"),
        ("conda.yml:6:3", "no-pypi-twin"),
    ]
    assert "condaPackages: baseImage" in caught.value.problems[0].hint
    native = replace(environment, conda_packages=True)
    assert native.identity != environment.identity
    (image,) = ImageRenderer(ImageSettings(), "1").render(
        replace(DEPLOYMENT, environment=native, image=ImageInputs(base_image="mambaorg/micromamba:2"))
    )
    assert image.spec["conda"] == {
        "channels": ["bioconda", "conda-forge"],
        "packages": ["conda-forge::libgomp", "openjdk=11"],
        "python": "3.12",
        "places": {"libgomp": "conda.yml:6:3", "openjdk": "conda.yml:4:3"},
    }
    assert image.spec["requirements"] == ["numpy"]
    assert image.summary.endswith("1 requirement, 2 from conda")


def test_what_stands_in_a_conda_file_never_becomes_an_option_or_a_shell() -> None:
    """Specifications are arguments of a command: what could be more is refused with its line."""
    lines = ["--prefix=/", "lib a; rm -rf /", "lib$(id)", "libgdal>=3"]
    text = "dependencies:\n" + "".join(f"- '{line}'\n" for line in lines)
    asked = declared(Environment(conda_file=File("c.yml", "5" * 40, text.encode())), conda=True)
    assert [item.text for item in asked.conda] == ["libgdal>=3"]
    assert sorted({p.position.line for p in asked.problems if p.position}) == [2, 3, 4]
    channels = b"channels: [conda-forge, --evil, 'a b']\ndependencies: [libgdal]\n"
    asked = declared(Environment(conda_file=File("c.yml", "6" * 40, channels)), conda=True)
    assert asked.channels == ("conda-forge",)
    assert len(asked.problems) == 2


def test_conda_makes_a_folder_on_which_the_rest_is_installed() -> None:
    """Its command runs without a shell, before the environment is made of its Python; both folders are copied."""
    command = ["/usr/bin/micromamba", "create", "libgdal >=3"]
    lines = Recipe("b", "score.py", [], conda=command).dockerfile().splitlines()
    made = lines.index('RUN ["/usr/bin/micromamba", "create", "libgdal >=3"]')
    (installed,) = [n for n, line in enumerate(lines) if "/build/uv venv" in line]
    assert made < installed
    assert "--python /opt/reconciler/conda/bin/python " in lines[installed]
    assert lines.index("COPY --from=build /opt/reconciler/conda /opt/reconciler/conda") > installed
    assert "/opt/reconciler/conda" not in Recipe("b", "score.py", []).dockerfile()


def test_spark_says_what_is_missing_unless_something_may_bring_java() -> None:
    """A warning on the default base image; none where the manifest names what may have it."""

    def warned(**image: Any) -> list[str]:
        deployment = replace(DEPLOYMENT, environment=Environment(runtime="spark-py"), image=ImageInputs(**image))
        (made,) = ImageRenderer(ImageSettings(), "1").render(deployment)
        return [problem.code for problem in made.warnings]

    assert warned() == ["spark-needs-java"]
    assert warned(base_image="eclipse-temurin:17") == []
    assert warned(extra_steps=File("steps", "7" * 40, b"RUN apt-get install default-jre-headless\n")) == []


def test_registries_have_several_spellings() -> None:
    """Those of Docker Hub, a bare name at Azure, and hosts as they are; the base image is called by the host."""
    spelt = {
        "https://index.docker.io/v1/": "docker.io",
        "mlbase": "mlbase.azurecr.io",
        "mlbase.azurecr.io": "mlbase.azurecr.io",
        "registry.example:5000": "registry.example:5000",
        "localhost": "localhost",
    }
    assert {address: registry_host(address) for address in spelt} == spelt
    image = ImageInputs(base_image="ml/base:1", registry=Registry("mlbase", "me", None))
    (made,) = ImageRenderer(ImageSettings(), "1").render(replace(DEPLOYMENT, image=image))
    assert made.spec["base"] == "mlbase.azurecr.io/ml/base:1"


def test_a_base_image_is_judged_by_what_it_said() -> None:
    """What it must have stands in the message, for each way in which it does not."""
    fine = '{"python": [3, 11, 2], "glibc": "glibc 2.36", "machine": "x86_64", "conda": null, "java": null}'
    assert read_probe("b", "", fine).short == "3.11"
    bare = fine.replace("[3, 11, 2]", "null")
    assert read_probe("b", "", bare.replace('"conda": null', '"conda": "/bin/micromamba"')).python is None
    for said, words in [
        (bare, "no Python on its PATH"),
        (fine.replace("11", "9"), "its Python is 3.9.2"),
        (fine.replace("glibc 2.36", ""), "not glibc"),
        ("exec: sh: not found", "no Python could be run in it: exec: sh: not found"),
        ("", "it printed nothing"),
    ]:
        with pytest.raises(TerminalError, match=words) as caught:
            read_probe("b", "", said)
        assert "a base image needs a shell" in caught.value.hint


def test_the_default_base_follows_the_declared_python() -> None:
    """The environment's Python where there is an image of it, else the one we test with."""
    assert [python_for(declared) for declared in ("", "==3.12.*", ">=3.13", "==3.6.2", "nonsense")] == [
        "3.11",
        "3.12",
        "3.13",
        "3.11",
        "3.11",
    ]


def test_images_follow_from_what_their_runtime_understands() -> None:
    """An option that is new, gone or renamed may keep older images from starting: then the number counts up."""
    told = subprocess.run(
        [sys.executable, "-m", "reconciler.serving", "--help"], capture_output=True, text=True, check=True
    )
    options = {found for line in told.stdout.splitlines() for found in re.findall(r"^ {2}.*?(--[a-z][a-z-]*)", line)}
    assert (RUNTIME_INTERFACE, " ".join(sorted(options))) == (
        3,
        "--access-log --body-timeout-seconds --compat --concurrency --control-fd --cors --drain-idle-seconds "
        "--entry --fd --graceful-seconds --header-timeout-seconds --help --hold --host --keep-alive-seconds "
        "--keys-file --log-format --log-level --max-body-bytes --max-wait-ms --metrics-file --metrics-public "
        "--metrics-slot --model-dir --nan --numpy --path-prefix --port --queue --service-name "
        "--service-version --source-dir --stop-idle-seconds --swagger --swagger-public --timeout-ms "
        "--tls-cert --tls-key --uds --version --workers",
    )
