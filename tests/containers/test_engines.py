"""Engines that are restarted, and engines on other machines: by TCP with TLS, and by ssh. All real, all on loopback."""

from __future__ import annotations

import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.containers.engine import REQUIRED
from tests.containers.own import OwnEngine, Sshd, certificate
from tests.containers.ready import Ready
from tests.containers.waiting import until

pytestmark = pytest.mark.long


def answer(url: str) -> bytes:
    """What a service answers; nothing while it does not."""
    try:
        with urllib.request.urlopen(f"{url}/score", timeout=5) as said:
            return said.read()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates for the second engine and its clients."""
    return certificate(tmp_path_factory.mktemp("tls") / "good")


@pytest.fixture(scope="module")
def own(tls: Path) -> Iterator[OwnEngine]:
    """A second engine."""
    made = OwnEngine(tls)
    yield made
    made.close()


def names(own: OwnEngine, ready: Ready) -> list[str]:
    """The containers of a repo's target."""
    return sorted(own.docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{ready.target}").split())


def applied(ready: Ready) -> bool:
    """Whether an apply ends well."""
    process = ready.start("apply", "--yes")
    process.communicate()
    return process.returncode == 0


def test_an_engine_restarted_during_an_apply_and_under_a_daemon(tmp_path: Path, own: OwnEngine) -> None:
    """Whatever was cut off is finished afterwards; a daemon says that the engine went, and goes on when it is back."""
    ready = Ready(tmp_path, DOCKER_HOST=own.url)
    ready.services(3, "first")
    ready.run("apply", "--yes")
    ready.services(3, "second")
    applying = ready.start("apply", "--yes")
    until(lambda: any(name.endswith(".next") for name in names(own, ready)), "a staged version")
    own.stop()
    own.start()
    said = "".join(applying.communicate())
    assert "Traceback" not in said
    until(lambda: applied(ready), "what was cut off")
    services = [f"s{n:03d}" for n in range(3)]
    until(lambda: all(answer(ready.url(name)) == b"second" for name in services), "the new version")
    assert names(own, ready) == [f"{ready.target}.{name}" for name in services]

    with ready.daemon(full_look_seconds=3600) as daemon:
        began = time.time()
        own.stop()
        away = daemon.first(lambda line: line.get("outcome") == "unavailable", began)
        assert own.url in away["reason"]
        own.start()
        daemon.first(lambda line: line.get("outcome") == "in sync" and line["health"] == {"Healthy": 3}, began)
        until(lambda: answer(ready.url("s001")) == b"second", "the services")
        began = time.time()
        own.docker("kill", f"{ready.target}.s001")
        drift = daemon.first(lambda line: line["event"] == "drift", began)
        assert drift["id"] == f"{ready.target}/container/s001"


def test_an_engine_by_tcp_with_tls(tmp_path: Path, own: OwnEngine, tls: Path) -> None:
    """Applied, changed and destroyed as at home; without the right certificate it is refused with the reason."""
    ready = Ready(tmp_path, f"dockerHost: '{own.tcp}', dockerTlsDir: '{tls}'")
    ready.services(1, "first")
    ready.run("apply", "--yes")
    url = ready.url("s000")
    until(lambda: answer(url) == b"first", "the service")
    ready.services(1, "second")
    ready.run("apply", "--yes")
    until(lambda: answer(url) == b"second", "the new version")
    assert "Nothing to do" in ready.run("plan")
    ready.run("destroy", "--all", "--yes")
    assert names(own, ready) == []

    for folder, words in ((certificate(tmp_path / "other"), "certificate"), (tmp_path / "nowhere", "nowhere")):
        (tmp_path / folder.name).mkdir(exist_ok=True)
        place = tmp_path / f"repo-{folder.name}"
        place.mkdir()
        stranger = Ready(place, f"dockerHost: '{own.tcp}', dockerTlsDir: '{folder}'")
        stranger.services(1)
        said = stranger.run("plan", code=12)
        assert words in said
        assert "Traceback" not in said


def test_an_engine_by_ssh(tmp_path: Path) -> None:
    """Applied, read and destroyed through a real sshd; a key that is not let in is told in ssh's own words."""
    if shutil.which("sshd", path="/usr/sbin") is None:
        (pytest.fail if REQUIRED else pytest.skip)("there is no sshd: run .ci/docker-engine.sh")
    with closing(Sshd(tmp_path / "ssh")) as sshd, closing(_far(tmp_path, sshd)) as ready:
        ready.services(1, "far")
        ready.run("apply", "--yes")
        until(lambda: answer(ready.url("s000")) == b"far", "the service")
        assert "listening" in ready.run("logs", "s000")
        assert "Nothing to do" in ready.run("plan")
        sshd.admit(tmp_path / "ssh" / "other")
        said = ready.run("plan", code=12)
        assert "Permission denied" in said
        sshd.admit(tmp_path / "ssh" / "key")
        ready.run("destroy", "--all", "--yes")


def _far(folder: Path, sshd: Sshd) -> Ready:
    return Ready(folder, f"dockerHost: 'ssh://root@127.0.0.1:{sshd.port}'", PATH=sshd.path)
