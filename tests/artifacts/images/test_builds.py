"""Images really built on a real engine, pushed to a real registry, and served from there. Needs a package index."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import REGISTRY, docker, engine, remove_all

pytestmark = pytest.mark.long

RECONCILER = Path(sys.executable).with_name("reconciler")
DATA = '{"data": [[0.04, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0.0, 0.02, -0.02]]}'
EXAMPLE = Path(__file__).parents[3] / "examples" / "quickstart"


class Shop:
    """A manifest repo with a local target of its own, and commands run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        engine().close()
        self.target = f"t{secrets.token_hex(4)}"
        self.folder, self.state = folder / "shop", folder / "state"
        self.settings = folder / "settings.yaml"
        self.settings.write_text(json.dumps({"images": {}}))
        self.run("init", str(self.folder), where=folder)
        (self.folder / "targets").mkdir()
        self.write(
            f"targets/{self.target}.yaml",
            "apiVersion: reconciler/v1\nkind: Target\n"
            f"metadata: {{name: {self.target}}}\nspec: {{type: local, local: {{engine: docker}}}}\n",
        )
        service = self.folder / "services" / "diabetes.yaml"
        service.write_text(service.read_text().replace("target: local", f"target: {self.target}"))
        self.commit("Containers")

    def write(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text)

    def commit(self, message: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        for words in (["add", "--all"], [*identity, "commit", "--quiet", "--message", message]):
            subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True)

    def run(self, *words: str, where: Path | None = None, code: int = 0) -> str:
        environment = {**os.environ, "RECONCILER_STATE_DIR": str(self.state), "NO_COLOR": "1"}
        done = subprocess.run(
            [str(RECONCILER), *words],
            cwd=where or self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def apply(self, code: int = 0, *words: str) -> str:
        return self.run("apply", "--yes", "--settings", str(self.settings), *words, code=code)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A repo whose service goes to the engine; what it made there is taken away."""
    made = Shop(tmp_path)
    yield made
    remove_all(f"{made.target}.")
    for name in sorted(path.name for path in (made.state / "images").glob("*:*")):
        subprocess.run(["docker", "rmi", "--force", f"reconciler/{name}"], capture_output=True, check=False)


def test_from_a_commit_to_a_scored_container_and_a_new_model_version(shop: Shop) -> None:
    """The quickstart in a container: built, tested, scored; a new version rebuilds one layer and keeps the address."""
    shop.apply()
    assert shop.run("score", "diabetes", "--data", DATA).strip() == "[181.32012846870902]"
    name = f"{shop.target}.diabetes"
    report = json.loads(docker("inspect", name))[0]
    assert report["Config"]["User"] == "65532:65532"
    assert report["HostConfig"]["ReadonlyRootfs"] is True
    assert report["HostConfig"]["CapDrop"] == ["ALL"]
    url = shop.run("status", "-o", "json")
    assert "Nothing to do" in shop.run("plan")
    first = docker("inspect", "--format", "{{.Id}}", name)
    shop.apply()
    assert docker("inspect", "--format", "{{.Id}}", name) == first
    shutil.copy(EXAMPLE / "next" / "diabetes-ridge.pkl", shop.folder / "models" / "diabetes-ridge.pkl")
    shop.commit("Next model")
    shop.apply()
    assert shop.run("score", "diabetes", "--data", DATA).strip() == "[191.91496393738282]"
    key = json.loads(url)["services"][0]["url"]
    assert json.loads(shop.run("status", "-o", "json"))["services"][0]["url"] == key
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(urllib.request.Request(f"{key}/score", data=DATA.encode()), timeout=10)
    shop.run("keys", "diabetes", "--regenerate", "primary")
    assert shop.run("score", "diabetes", "--data", DATA).strip() == "[191.91496393738282]"
    log = next((shop.state / "images").glob("*/build.log")).read_text()
    assert "uv pip sync" in log
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", report["Image"])
    assert shop.run("keys", "diabetes", "--show", code=0).split()[-1] not in history

    service = shop.folder / "services" / "diabetes.yaml"
    service.write_text(service.read_text().replace("shape: [1]", "shape: [2]"))
    shop.commit("A test that cannot pass")
    assert "shape" in shop.apply(16)
    assert shop.run("score", "diabetes", "--data", DATA).strip() == "[191.91496393738282]"

    service.unlink()
    shop.commit("Retire")
    shop.apply()
    assert docker("ps", "--all", "--quiet", "--filter", f"name=^{name}") == ""
    assert docker("volume", "ls", "--quiet", "--filter", f"name={name}") == ""


def test_images_are_pushed_and_a_moved_name_is_put_right(shop: Shop) -> None:
    """With a registry in the settings the image stands there under its digest; a tag moved by hand is drift."""
    shop.settings.write_text(json.dumps({"images": {"registry": f"{REGISTRY}/{shop.target}", "offline": True}}))
    shop.apply()
    with urllib.request.urlopen(f"http://{REGISTRY}/v2/{shop.target}/diabetes-ridge/tags/list", timeout=10) as answer:
        (tag,) = json.loads(answer.read())["tags"]
    reference = f"{REGISTRY}/{shop.target}/diabetes-ridge:{tag}"
    docker("tag", "python:3.11-slim", reference)
    told = shop.run("plan", "--settings", str(shop.settings))
    assert "means another image now" in told or "/built" in told
    shop.apply()
    labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", reference))
    assert labels["dev.reconciler.image.identity"].startswith(tag)


def test_a_base_image_that_cannot_be_built_on_is_told_with_what_it_must_have(shop: Shop, tmp_path: Path) -> None:
    """No Python in it, or no image of that name: the reason and the list, and nothing is left on the engine."""
    context = tmp_path / "base"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /Dockerfile\n")
    docker("build", "--quiet", "--tag", f"{shop.target}/empty:1", str(context))
    inference = shop.folder / "inference" / "sklearn.yaml"
    plain = inference.read_text()
    before = docker("ps", "--all", "--quiet")
    try:
        inference.write_text(plain.rstrip() + f"\n  baseImage: {shop.target}/empty:1\n")
        shop.commit("Nothing in it")
        told = shop.apply(16)
        assert "cannot be built on" in told
        assert "glibc" in told
        inference.write_text(plain.rstrip() + f"\n  baseImage: {REGISTRY}/nowhere:1\n")
        shop.commit("Not there")
        assert "there is no base image" in shop.apply(16)
    finally:
        docker("rmi", f"{shop.target}/empty:1")
    assert docker("ps", "--all", "--quiet") == before


def test_a_build_step_that_fails_says_its_last_lines(shop: Shop) -> None:
    """The user's own steps run in the build; what one of them prints before it fails is the reason."""
    (shop.folder / "inference" / "sklearn" / "steps").write_text("RUN echo 'the disk of dreams' && exit 7\n")
    inference = shop.folder / "inference" / "sklearn.yaml"
    inference.write_text(inference.read_text().rstrip() + "\n  extraDockerFileSteps: steps\n")
    shop.commit("A step that fails")
    told = shop.apply(16)
    assert "returned a non-zero code: 7" in told
    assert "the disk of dreams" in told
