"""Containers that somebody made by hand, imported with commands: adopted as they run, and what cannot be is refused."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import docker, standin
from tests.containers.shop import Shop

pytestmark = pytest.mark.long
CANARY = "c4n4ry-imported"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A repo with a target on the engine and no service."""
    shop = Shop(tmp_path)
    for path in ("services/diabetes.yaml", "models/diabetes-ridge.yaml"):
        (shop.folder / path).unlink()
    shop.settings.write_text(json.dumps({"secrets": {"envPrefixes": ["HAND_"]}}))
    shop.commit("No service")
    yield shop
    shop.close()


def by_hand(shop: Shop, name: str, *options: str) -> str:
    """A container like anybody makes one."""
    return docker("run", "--detach", "--name", f"{shop.target}.{name}", *options, standin())


def imported(shop: Shop, name: str, *words: str, code: int = 0) -> str:
    """What importing it says."""
    settings = ("--settings", str(shop.settings))
    return shop.run("import", shop.target, f"{shop.target}.{name}", *settings, *words, code=code)


def test_a_container_is_taken_over_as_it_runs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported, committed, applied: the very process goes on under the service's name, and no text holds its secret."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ("--publish", f"127.0.0.1:{port}:5001", "--env", f"DB_PASSWORD={CANARY}", "--env", "LEVEL=info")
    container = by_hand(shop, "Their_Model", *options, "--label", "team=shop", "--cap-add", "NET_RAW")
    running = ("inspect", "--format", "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}")
    before = docker(*running, container)
    monkeypatch.setenv("HAND_MODEL_DB_PASSWORD", CANARY)
    settings = ("--settings", str(shop.settings))

    meant = shop.run("import", shop.target, f"{shop.target}.Their_Modle", *settings, code=10)
    told = imported(shop, "Their_Model", "--as", "model")
    written = (shop.folder / "services" / "model.yaml").read_text()
    shop.commit("Model")
    planned = shop.run("plan", *settings)
    applied = shop.apply()

    assert "did you mean 'Their_Model'" in meant
    assert "Config.Labels: team" in told
    assert 'HostConfig.CapAdd: ["CAP_NET_RAW"]' in told
    assert "valueFrom:\n          env: HAND_MODEL_DB_PASSWORD" in written
    assert "Plan: 1 to adopt" in planned
    assert "no disruption" in planned
    assert docker(*running, f"{shop.target}.model") == before
    assert "Nothing to do" in shop.run("plan", *settings)
    assert not any(CANARY in text for text in (meant, told, written, planned, applied))
    assert "which is ours" in imported(shop, "model", "--as", "other", code=13)


def test_what_cannot_be_said_is_refused_with_the_reason(shop: Shop) -> None:
    """A container that answers elsewhere, or that was stopped, is imported only by who insists."""
    by_hand(shop, "elsewhere", "--publish", "127.0.0.1::8000")
    by_hand(shop, "stopped", "--publish", "127.0.0.1::5001", "--restart", "always")
    docker("stop", "--time", "0", f"{shop.target}.stopped")

    refused = imported(shop, "elsewhere", code=13)
    stopped = imported(shop, "stopped", code=13)

    assert "port 5001/tcp is not published" in refused
    assert "/state  stopped → running" in stopped
    assert not list((shop.folder / "services").glob("*.yaml"))
    assert "It is Degraded" in imported(shop, "stopped", "--anyway")
    shop.commit("Stopped")
    assert "1 change done" in shop.apply()
    assert docker("inspect", "--format", "{{.State.Status}}", f"{shop.target}.stopped") == "running"
