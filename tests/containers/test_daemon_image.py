"""The daemon's own image and its compose file, built without a package index, run, and given commits to apply."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import BASE, REGISTRY, docker, engine
from tests.containers.waiting import until
from tests.source.conftest import Repo
from tests.source.served import served

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return {answer!r}\n"
FILES = {
    "inference/plain.yaml": "apiVersion: reconciler/v1\nkind: InferenceConfig\nmetadata: {name: plain}\n"
    "spec: {sourceDirectory: inference, entryScript: score.py}\n",
    "services/one.yaml": "apiVersion: reconciler/v1\nkind: Service\nmetadata: {name: one}\n"
    "spec: {target: local, models: [], inference: plain, tests: [{request: 1, expect: {}}]}\n",
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image, of what a clone has and a wheelhouse; its packages are fetched here, and nothing in the build."""
    engine().close()
    clone = tmp_path_factory.mktemp("image") / "clone"
    clone.mkdir()
    for name in ("pyproject.toml", "README.md", "Makefile", "constraints-run.txt", "constraints-uv.txt"):
        shutil.copy(ROOT / name, clone / name)
    for name in ("reconciler", "deploy"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    (clone / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "uv"):
        (clone / ".venv" / "bin" / name).write_text(f'#!/bin/sh\nexec {PROGRAMS / name} "$@"\n')
        (clone / ".venv" / "bin" / name).chmod(0o755)
    subprocess.run(["make", "--silent", "wheelhouse"], cwd=clone, check=True)
    tag = f"reconciler-tests/daemon-{secrets.token_hex(4)}"
    command = ["docker", "build", "--quiet", "--tag", tag, "--build-arg", f"BASE={REGISTRY}/{BASE}"]
    command += ["--file", "deploy/docker/Dockerfile", "."]
    subprocess.run(command, cwd=clone, check=True, capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    yield tag
    docker("rmi", "--force", tag)


class Project:
    """The compose file, up; state and network are its own."""

    def __init__(self, image: str, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"rt{secrets.token_hex(4)}",
            "RECONCILER_IMAGE": image,
            "RECONCILER_PORT": str(self.port),
            "RECONCILER_REPO__URL": url,
            "RECONCILER_REPO__POLL_SECONDS": "1",
        }

    def compose(self, *words: str) -> str:
        """A compose command on the project."""
        command = [str(PROGRAMS / "docker-compose"), "--file", str(ROOT / "deploy/docker/compose.yaml"), *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def get(self, path: str) -> tuple[int, bytes]:
        """What the daemon answers; (0, reason) while it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except OSError as error:
            return 0, str(error).encode()

    def service(self) -> dict:
        """The one service, as `/api/status` has it."""
        status, body = self.get("/api/status")
        found = json.loads(body)["services"] if status == 200 else []
        return found[0] if found else {}


def test_the_image_runs_and_applies_what_is_committed(image: str, tmp_path: Path) -> None:
    """Not root, nothing writable but its volume, no engine at hand; healthy; a commit on a served repo is applied."""
    repo = Repo(tmp_path / "repo")
    first = repo.commit({**FILES, "inference/score.py": SCRIPT.format(answer="first")})
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    with served(tmp_path, host=gateway or "172.17.0.1") as address:
        project = Project(image, f"http://{address}/repo/.git")
        try:
            project.compose("up", "--detach", "--no-build")
            container = project.compose("ps", "--quiet", "daemon")

            def log() -> str:
                return docker("logs", "--tail", "20", container)

            until(lambda: project.service().get("health") == "Healthy", log)
            until(lambda: docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy", log)
            assert project.service()["revision"].startswith(first[:7])
            report = json.loads(docker("inspect", container))[0]
            assert report["Config"]["User"] == "65532:65532"
            assert report["HostConfig"]["ReadonlyRootfs"] is True
            assert report["HostConfig"]["CapDrop"] == ["ALL"]
            assert [mount["Destination"] for mount in report["Mounts"]] == ["/var/lib/reconciler"]
            refused = subprocess.run(["docker", "exec", container, "touch", "/x"], capture_output=True, check=False)
            assert b"Read-only" in refused.stderr

            second = repo.commit({"inference/score.py": SCRIPT.format(answer="second")})
            until(lambda: project.service().get("revision", "").startswith(second[:7]), log)
            scored = docker("exec", container, "reconciler", "score", "one", "--data", "1")
            assert scored == '"second"'
            docker("restart", container)
            until(lambda: project.service().get("health") == "Healthy", log)
        finally:
            project.compose("down", "--volumes", "--timeout", "30")


def test_without_a_repo_it_is_told_what_is_missing(image: str) -> None:
    """Compose refuses to start; the image alone says it and ends."""
    command = [str(PROGRAMS / "docker-compose"), "--file", str(ROOT / "deploy/docker/compose.yaml"), "config"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER")}
    refused = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "is the URL of the manifest repo" in refused.stderr
    alone = subprocess.run(["docker", "run", "--rm", image], capture_output=True, text=True, check=False)
    assert alone.returncode == 11, alone.stderr
    assert "Traceback" not in alone.stderr


def test_the_engine_is_at_hand_only_where_it_is_chosen(tmp_path: Path) -> None:
    """Without the second file no socket is mounted; with it, the socket is, and the group that may use it."""
    folder = ROOT / "deploy" / "docker"
    environment = {**os.environ, "RECONCILER_REPO__URL": "https://git.example/x.git", "DOCKER_GROUP": "999"}

    def rendered(*files: str) -> dict:
        words = [word for name in files for word in ("--file", str(folder / name))]
        command = [str(PROGRAMS / "docker-compose"), *words, "config", "--format", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["services"]["daemon"]

    assert "docker.sock" not in str(rendered("compose.yaml"))
    chosen = rendered("compose.yaml", "engine.yaml")
    assert "/var/run/docker.sock" in str(chosen["volumes"])
    assert chosen["group_add"] == ["999"]
    assert chosen["network_mode"] == "host"
    assert not chosen.get("ports")
    assert chosen["environment"]["RECONCILER_DAEMON__LISTEN"].startswith("127.0.0.1:")
