"""A real daemon, and hands at its containers: what they do is known from the engine's events, and taken back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers.engine import docker
from tests.containers.ready import Daemon, Ready, at
from tests.containers.waiting import until

pytestmark = pytest.mark.long


def state(name: str) -> str:
    """What the engine says of a container: id, state, memory; nothing if there is none."""
    listed = docker("ps", "--all", "--quiet", "--filter", f"name=^{name}$")
    return docker("inspect", "--format", "{{.Id}} {{.State.Status}} {{.HostConfig.Memory}}", name) if listed else ""


def drift(daemon: Daemon, began: float) -> dict:
    """The reconcile that saw drift; nothing but an event can have caused it, so far apart are the full looks."""
    return daemon.first(lambda line: line["event"] == "reconcile" and line["drift"] > 0, began)


def healed(daemon: Daemon, told: dict, condition: Callable[[], bool]) -> None:
    """Waits until it is so, and the daemon has seen it."""
    until(condition, "what heals it")
    daemon.first(lambda line: line["event"] == "reconcile" and line["outcome"] == "in sync", at(told))


def test_what_hands_do_is_known_from_events_and_taken_back(tmp_path: Path) -> None:
    """Stopped, paused, edited, renamed: mended where it stands; deleted: made again; a copy is nobody's business."""
    ready = Ready(tmp_path)
    ready.services(2)
    name = f"{ready.target}.s000"
    try:
        ready.run("apply", "--yes")
        before = state(name)
        with ready.daemon(full_look_seconds=3600) as daemon:
            for hand in (
                ("update", "--memory", "400m", "--memory-swap", "400m", name),
                ("stop", name),
                ("kill", name),
                ("pause", name),
                ("rename", name, f"{ready.target}.astray"),
            ):
                began = time.time()
                docker(*hand)
                told = drift(daemon, began)
                assert told["cause"].startswith("event: ")
                healed(daemon, told, lambda: state(name) == before)
            noted = [field for line in daemon.lines() if line["event"] == "drift" for field in line["fields"]]
            assert set(noted) == {"/state", "/limits/memoryGb"}
            assert state(f"{ready.target}.astray") == ""

            began = time.time()
            docker("rm", "--force", name)
            told = drift(daemon, began)
            assert told["changes"] == {"create": 1}
            healed(daemon, told, lambda: " running " in state(name))
            assert state(name) != before

            began = time.time()
            labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", name))
            words = [f"--label={key}={value}" for key, value in labels.items()]
            copy = docker("run", "--detach", "--name", f"{ready.target}.copy", *words, ready.image)
            daemon.first(lambda line: line["event"] == "reconcile" and line["outcome"] == "in sync", began)
            assert docker("inspect", "--format", "{{.State.Status}}", copy) == "running"
            assert not [line for line in daemon.lines(began) if line["event"] == "drift"]
    finally:
        ready.close()
