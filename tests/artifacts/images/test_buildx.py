"""Images joined from one for each architecture: the docker command's own plugin, a real engine, a real registry."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.artifacts.environments.uv import Limits, Stopped
from reconciler.artifacts.images.builder import Credentials, Order, Presence, Recorded
from reconciler.artifacts.images.buildx_builder import BuildxBuilder
from reconciler.artifacts.images.context import Context
from reconciler.artifacts.images.recipe import LABEL_IDENTITY
from reconciler.artifacts.images.settings import ImageSettings
from reconciler.containers.buildx import Buildx
from reconciler.containers.engine import Engine
from reconciler.containers.place import find_place
from reconciler.core.deployment import Registry
from reconciler.core.errors import TerminalError
from tests.containers.engine import BASE, REGISTRY, engine

pytestmark = pytest.mark.long


def test_without_the_plugin_it_is_said_what_to_install() -> None:
    """A machine without the docker command, and so without its plugin."""
    with pytest.raises(TerminalError, match=r"images\.platforms .* there is no docker command") as caught:
        Buildx(find_place({}, {}), {"PATH": ""}).check()
    assert "docker-buildx" in caught.value.hint


class Bench:
    """A builder with a repository of its own in the registry."""

    def __init__(self, folder: Path, *platforms: str) -> None:
        self.engine: Engine = engine()
        self.folder = folder
        self.stop = threading.Event()
        self.limits = Limits(time.monotonic() + 120, self.stop, 1)
        self.repository = f"t{secrets.token_hex(4)}/thing"
        self.reference = f"{REGISTRY}/{self.repository}:one"
        place = find_place({}, os.environ)
        self.buildx = Buildx(place, os.environ)
        settings = ImageSettings(registry=Registry(f"{REGISTRY}/ml"), platforms=platforms)
        self.builder = BuildxBuilder(lambda: self.engine, self.buildx, settings)
        self.lines: list[str] = []
        self.ends_at = ""

    def log(self, line: str) -> None:
        self.lines.append(line)
        if self.ends_at and self.ends_at in line:
            self.stop.set()

    def order(self, platform: str = "") -> Order:
        return Order("i" * 64, self.reference, "stage", True, Credentials(), platform)

    def build(self, platform: str, steps: str) -> None:
        base = self.builder.base(f"{REGISTRY}/{BASE}", platform, Credentials(), self.limits, self.log)
        archive = io.BytesIO()
        context = Context(archive)
        context.text("Dockerfile", f"FROM {base.reference}\n{steps}\nLABEL {LABEL_IDENTITY}={'i' * 64}\n")
        context.close()
        (self.folder / "context.tar").write_bytes(archive.getvalue())
        with (self.folder / "context.tar").open("rb") as stream:
            self.builder.build(stream, self.order(platform), self.limits, self.log)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """For the engine's own architecture alone: another one would need an emulator."""
    made = Bench(tmp_path, "linux/amd64")
    try:
        made.buildx.check()
    except TerminalError as error:
        pytest.skip(error.message)
    yield made
    for name in (made.reference, f"{made.reference}-linux-amd64"):
        subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)
    made.engine.close()


def test_an_image_is_built_for_each_architecture_and_found_under_one_name(bench: Bench) -> None:
    """The registry has an index under the name, the engine its own image, and nothing is built twice."""
    assert bench.builder.find("i" * 64, bench.reference) is None
    bench.build("linux/amd64", "RUN echo built-here")
    assert any("built-here" in line for line in bench.lines)
    found = bench.builder.find("i" * 64, bench.reference)
    assert found is not None
    digest = bench.builder.publish(found, bench.order(), bench.limits, bench.log)
    url = f"http://{REGISTRY}/v2/{bench.repository}/manifests/one"
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as answer:
        assert answer.headers["Docker-Content-Digest"] == digest
        index = json.loads(answer.read())
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64"]
    assert bench.builder.presence({"a": Recorded(found.id, bench.reference)}) == {"a": Presence.THERE}


def test_an_architecture_that_the_base_image_lacks_is_said_before_anything_is_built(bench: Bench) -> None:
    """With what the registry has."""
    with pytest.raises(TerminalError, match="not there for linux/arm64; its registry has linux/amd64"):
        bench.build("linux/arm64", "RUN true")


def test_a_step_that_fails_says_its_last_lines(bench: Bench) -> None:
    """The reason first, then what was printed."""
    with pytest.raises(TerminalError, match="exit code: 7") as caught:
        bench.build("linux/amd64", "RUN echo 'the disk of dreams' && exit 7")
    assert "the disk of dreams" in caught.value.message
    assert bench.builder.find("i" * 64, bench.reference) is None


def test_a_build_that_is_stopped_ends(bench: Bench) -> None:
    """The command ends, and with it what the engine was doing for it."""
    bench.ends_at = "it-runs"
    with pytest.raises(Stopped):
        bench.build("linux/amd64", "RUN printf 'it-%s\\n' runs && tail -f /dev/null")
    assert bench.builder.find("i" * 64, bench.reference) is None
