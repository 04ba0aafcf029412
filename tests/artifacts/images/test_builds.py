"""Images really built on a real engine, pushed to a real registry, and served from there. Needs a package index."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.artifacts.environments.uv import Limits
from reconciler.artifacts.images.builder import Credentials, Order, Standing
from reconciler.artifacts.images.engine_builder import EngineBuilder
from reconciler.artifacts.images.settings import ImageSettings
from reconciler.core.errors import AccessError
from tests.certificates import certificate_in
from tests.containers.engine import BASE, REGISTRY, docker, engine
from tests.containers.shop import DATA, EXAMPLE, Shop
from tests.daemon.rig import until

pytestmark = pytest.mark.long

# Processors differ in its last digits.
SCORE = pytest.approx([181.32012846870902])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A repo whose service goes to the engine; what it made there is taken away."""
    made = Shop(tmp_path)
    yield made
    made.close()


def test_from_a_commit_to_a_scored_container_and_a_new_model_version(shop: Shop) -> None:
    """The quickstart in a container: built, tested, scored; a new version rebuilds one layer and keeps the address."""
    shop.apply()
    assert json.loads(shop.run("score", "diabetes", "--data", DATA)) == SCORE
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
    assert json.loads(shop.run("score", "diabetes", "--data", DATA)) == pytest.approx([191.91496393738282])
    key = json.loads(url)["services"][0]["url"]
    assert json.loads(shop.run("status", "-o", "json"))["services"][0]["url"] == key
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(urllib.request.Request(f"{key}/score", data=DATA.encode()), timeout=10)
    shop.run("keys", "diabetes", "--regenerate", "primary")
    assert json.loads(shop.run("score", "diabetes", "--data", DATA)) == pytest.approx([191.91496393738282])
    log = next((shop.state / "images").glob("*/build.log")).read_text()
    assert "uv pip sync" in log
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", report["Image"])
    assert shop.run("keys", "diabetes", "--show", code=0).split()[-1] not in history

    service = shop.folder / "services" / "diabetes.yaml"
    strict = "  deployment: {environmentVariables: {MODE: strict}}\n  tests:"
    service.write_text(service.read_text().replace("shape: [1]", "shape: [2]").replace("  tests:", strict))
    shop.commit("A test that cannot pass")
    assert "shape" in shop.apply(16)
    assert json.loads(shop.run("score", "diabetes", "--data", DATA)) == pytest.approx([191.91496393738282])

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
    try:
        inference.write_text(plain.rstrip() + f"\n  baseImage: {shop.target}/empty:1\n")
        shop.commit("Nothing in it")
        told = shop.apply(16)
        assert "cannot be built on" in told
        assert "glibc" in told
        inference.write_text(plain.rstrip() + f"\n  baseImage: {REGISTRY}/nowhere:1\n")
        shop.commit("Not there")
        assert "there is no base image" in shop.apply(16)
        assert docker("ps", "--all", "--quiet", "--filter", f"ancestor={shop.target}/empty:1") == ""
    finally:
        docker("rmi", f"{shop.target}/empty:1")


def test_a_build_step_that_fails_says_its_last_lines(shop: Shop) -> None:
    """The user's own steps run in the build; what one of them prints before it fails is the reason."""
    (shop.folder / "inference" / "sklearn" / "steps").write_text("RUN echo 'the disk of dreams' && exit 7\n")
    inference = shop.folder / "inference" / "sklearn.yaml"
    inference.write_text(inference.read_text().rstrip() + "\n  extraDockerFileSteps: steps\n")
    shop.commit("A step that fails")
    told = shop.apply(16)
    assert "returned a non-zero code: 7" in told
    assert "the disk of dreams" in told


def leftovers(label: str) -> str:
    """Images without a name that carry a label."""
    return docker("images", "--quiet", "--filter", "dangling=true", "--filter", f"label={label}")


def test_a_build_leaves_nothing_that_nobody_needs(shop: Shop, tmp_path: Path) -> None:
    """A failed one no layer; a whole one those of its first stage, which go with the last image made with them."""
    # What is built on a base image has its labels, so that this test sees its own layers alone.
    context, base, label = tmp_path / "base", f"{shop.target}/base:1", f"test={shop.target}"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {BASE}\nLABEL {label}\n")
    docker("build", "--quiet", "--tag", base, str(context))
    try:
        steps = shop.folder / "inference" / "sklearn" / "steps"
        steps.write_text(f"RUN echo {shop.target} > /first && false\n")
        inference = shop.folder / "inference" / "sklearn.yaml"
        inference.write_text(inference.read_text().rstrip() + f"\n  extraDockerFileSteps: steps\n  baseImage: {base}\n")
        shop.commit("A step that fails")
        shop.apply(16)
        assert leftovers(label) == ""
        steps.write_text(f"RUN echo {shop.target} > /first\n")
        shop.commit("A step that does not")
        shop.apply()
        assert leftovers(label) != ""
        shop.settings.write_text(json.dumps({"images": {"retainCount": 0}}))
        (shop.folder / "services" / "diabetes.yaml").unlink()
        shop.commit("Retire")
        shop.apply()
        shop.apply()
        assert leftovers(label) == ""
        assert (
            docker("images", "--quiet", "--filter", f"label={label}", "--filter", "label=dev.reconciler.image.stage")
            == ""
        )
        assert not list((shop.state / "images").glob("*:*"))
    finally:
        subprocess.run(["docker", "rmi", "--force", base], capture_output=True, check=False)


FAKE_CONDA = """#!/bin/sh
# Stands in for micromamba: makes a prefix whose Python is the image's own, and notes what it was asked for.
while [ $# -gt 0 ]; do
  case "$1" in
    --prefix) prefix=$2; shift;;
    --channel) echo "channel $2" >> /tmp/asked; shift;;
    create|--*) ;;
    *) echo "package $1" >> /tmp/asked;;
  esac
  shift
done
mkdir -p "$prefix/bin" && ln -s "$(command -v python3)" "$prefix/bin/python" && mv /tmp/asked "$prefix/asked"
"""


def test_what_only_conda_has_comes_from_the_base_image_s_conda(shop: Shop, tmp_path: Path) -> None:
    """Its packages stand beside the environment; a base image without conda says which lines need it."""
    context = tmp_path / "base"
    context.mkdir()
    (context / "micromamba").write_text(FAKE_CONDA)
    (context / "Dockerfile").write_text(
        f"FROM {BASE}\nCOPY micromamba /usr/local/bin/micromamba\nRUN chmod 755 /usr/local/bin/micromamba\n"
    )
    base = f"{shop.target}/conda:1"
    docker("build", "--quiet", "--tag", base, str(context))
    folder = shop.folder / "inference" / "sklearn"
    pip = "".join(f"  - {line}\n" for line in (folder / "requirements.txt").read_text().split())
    (folder / "conda.yml").write_text(f"dependencies:\n- libgomp\n- python=3.11\n- pip:\n{pip}")
    inference = shop.folder / "inference" / "sklearn.yaml"
    plain = inference.read_text().replace("requirementsFile: requirements.txt", "condaFile: conda.yml").rstrip() + "\n"
    try:
        inference.write_text(plain)
        shop.commit("Conda")
        told = shop.run("plan", "--settings", str(shop.settings), code=11)
        assert "conda.yml:2:3" in told
        assert "condaPackages: baseImage" in told
        inference.write_text(plain + f"  condaPackages: baseImage\n  baseImage: {BASE}\n")
        shop.commit("A base image without conda")
        told = shop.apply(16)
        assert "neither micromamba nor conda" in told
        assert "libgomp (inference/sklearn/conda.yml:2:3)" in told
        inference.write_text(plain + f"  condaPackages: baseImage\n  baseImage: {base}\n")
        shop.commit("One with conda")
        shop.apply()
        assert json.loads(shop.run("score", "diabetes", "--data", DATA)) == SCORE
        asked = docker("exec", f"{shop.target}.diabetes", "cat", "/opt/reconciler/conda/asked")
        assert asked.splitlines() == ["channel conda-forge", "package python=3.11", "package libgomp"]
    finally:
        subprocess.run(["docker", "rmi", "--force", base], capture_output=True, check=False)


def test_a_container_speaks_tls_with_files_that_the_operator_allows(shop: Shop, tmp_path: Path) -> None:
    """Staged, tested, promoted and healthy over HTTPS; files elsewhere are refused in the plan."""
    files = tmp_path / "tls"
    files.mkdir()
    certificate_in(files)
    (files / "key.pem").chmod(0o644)
    service = shop.folder / "services" / "diabetes.yaml"
    tls = f"{{tlsCertFile: {files}/cert.pem, tlsKeyFile: {files}/key.pem}}"
    text = service.read_text()
    assert "deployment:" not in text
    service.write_text(text.rstrip() + f"\n  deployment: {{maxRequestWaitTime: 500, local: {tls}}}\n")
    shop.commit("TLS")
    assert "do not allow" in shop.run("plan", "--settings", str(shop.settings), code=11)
    shop.settings.write_text(json.dumps({"docker": {"volumes": [str(files)]}}))
    shop.apply()
    options = ("--settings", str(shop.settings))
    url = json.loads(shop.run("status", "-o", "json", *options))["services"][0]["url"]
    assert url.startswith("https://127.0.0.1:")
    assert json.loads(shop.run("score", "diabetes", "--data", DATA, *options)) == SCORE
    assert "Nothing to do" in shop.run("plan", *options)
    report = json.loads(docker("inspect", f"{shop.target}.diabetes"))[0]
    assert "https://" in " ".join(report["Config"]["Healthcheck"]["Test"])
    assert "--max-wait-ms" in report["Config"]["Cmd"]


# bcrypt of the password below, which is what this kind of registry compares with.
PASSWORDS = "me:$2b$05$abcdefghijklmnopqrstuuWFZneeQKConK4Fwtp/nR/UhyL3MNgkW\n"


def test_a_base_image_may_be_behind_a_password(tmp_path: Path) -> None:
    """A registry that asks: told as such without credentials, pulled from and pushed to with them."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    found = engine()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "htpasswd").write_text(PASSWORDS)
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n"
        f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/htpasswd}}}}\n"
    )
    login = {"username": "me", "password": "c4n4ry-pull"}
    reference = f"127.0.0.1:{port}/private/base:1"
    with subprocess.Popen(
        [program, "serve", str(tmp_path / "registry.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as registry:
        try:
            until(lambda: _listens(port))
            builder = EngineBuilder(lambda: found, ImageSettings())
            image = found.image(BASE)
            assert image is not None
            limits = Limits(time.monotonic() + 120, threading.Event(), 1)
            lines: list[str] = []
            standing = Standing(str(image["Id"]), {})
            with pytest.raises(AccessError) as caught:
                builder.publish(standing, Order("i", reference, "", True, Credentials()), limits, lines.append)
            assert "credentials" in caught.value.hint
            order = Order("i", reference, "", True, Credentials(None, login))
            assert builder.publish(standing, order, limits, lines.append).startswith("sha256:")
            docker("rmi", reference)
            for wrong in (None, {**login, "password": "c4n4ry-wrong"}):
                with pytest.raises(AccessError) as caught:
                    builder.base(reference, "", Credentials(wrong), limits, lines.append)
                assert "c4n4ry" not in caught.value.message
            base = builder.base(reference, "", Credentials(login), limits, lines.append)
            assert base.short == "3.11"
            assert "c4n4ry" not in "".join(lines)
        finally:
            registry.terminate()
            subprocess.run(["docker", "rmi", reference], capture_output=True, check=False)
            found.close()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
