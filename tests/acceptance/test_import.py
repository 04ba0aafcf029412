"""Manifests of what exists, from outside: what was lost comes back, what is others' is taken over as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from .conftest import SCRIPT, Home, inference, service

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
DOCUMENT = "services/echo.yaml"
CANARY = "c4n4ry-imported"
SETTINGS = "secrets: {envPrefixes: [APP_]}\n"
TARGET = {"apiVersion": "reconciler/v1", "kind": "Target"}
DEPLOYMENT: dict[str, Any] = {
    "replicas": 2,
    "memoryGb": 1.5,
    "scoringTimeoutMs": 5000,
    "environmentVariables": {
        "LEVEL": "info",
        "NOT_A_KEY": {"value": "plain"},
        "TOKEN": {"valueFrom": {"env": "APP_TOKEN"}},
    },
    "local": {"logFiles": 2},
}


def deployed(home: Home, **spec: Any) -> list[int]:
    """A service with settings and a secret, applied; its workers."""
    home.variables["APP_TOKEN"] = CANARY
    home.settings.write_text(SETTINGS)
    home.write({DOCUMENT: service("echo", deployment=DEPLOYMENT, **spec)})
    home.ok("apply")
    return workers(home)


def workers(home: Home) -> list[int]:
    """Process ids of the service's workers."""
    state = json.loads((home.state / "services" / "local" / "echo" / "service.json").read_text())
    return [worker["pid"] for worker in state["serving"]["workers"]]


def written(home: Home) -> str:
    """The manifest that was written."""
    return (home.repo / DOCUMENT).read_text()


def test_lost_manifests_come_back(home: Home) -> None:
    """Of a service of ours, with where its secret comes from: the plan is empty. Nothing is written without need."""
    before = deployed(home, auth={"enabled": True}, policy={"protect": True})
    refused = home.run("import", "local", "echo")
    assert refused.returncode == 13
    assert f"{DOCUMENT}:1:1" in refused.stderr
    home.write({DOCUMENT: None})

    shown = home.ok("import", "local", "echo", "--dry-run")
    assert "valueFrom:" in shown
    assert not (home.repo / DOCUMENT).exists()
    told = home.ok("import", "local", "echo")

    assert "InferenceConfig echo, which is there already" in told
    assert "has nothing to do for it" in told
    assert shown.endswith(written(home))
    assert "Nothing to do" in home.ok("plan")
    home.write({})
    assert "nothing to do" in home.ok("apply")
    assert workers(home) == before
    assert not any(CANARY in text for text in (*home.said, written(home)))
    # What is protected would outlive the test.
    home.write({DOCUMENT: service("echo", deployment=DEPLOYMENT, auth={"enabled": True})})
    home.ok("apply")


def test_a_lost_store_and_a_lost_repo(home: Home) -> None:
    """The code comes back out of the service, the environment out of its record; applying only records."""
    before = deployed(home)
    (home.state / "state.db").unlink()
    for extra in ("state.db-wal", "state.db-shm"):
        (home.state / extra).unlink(missing_ok=True)
    home.write({DOCUMENT: None, "inference/score.py": None, "inference/echo.yaml": None})
    home.variables["APP_ECHO_TOKEN"] = CANARY

    told = home.json("import", "local", "echo")

    assert (told["exact"], told["action"]) == (True, "adopt")
    assert [file["path"] for file in told["files"]] == [DOCUMENT, "inference/echo/score.py"]
    assert told["secrets"] == [{"variable": "TOKEN", "source": "env", "name": "APP_ECHO_TOKEN"}]
    assert (home.repo / "inference/echo/score.py").read_text() == SCRIPT
    home.write({})
    plan = home.json("plan")
    assert {change["action"] for change in plan["changes"]} == {"adopt"}
    assert all(change["fields"] == [] for change in plan["changes"])
    home.ok("apply")
    assert "Nothing to do" in home.ok("plan")
    assert workers(home) == before


def test_what_another_installation_left_is_taken_over(home: Home) -> None:
    """With a lost identity nothing is ours, and a secret known under another key counts as changed: that is told."""
    before = deployed(home)
    for name in ("identity.json", "state.db", "state.db-wal", "state.db-shm"):
        (home.state / name).unlink(missing_ok=True)
    home.write({DOCUMENT: None})
    home.variables["APP_ECHO_TOKEN"] = CANARY

    refused = home.run("import", "local", "echo")
    assert refused.returncode == 13
    assert "/environmentVariables/TOKEN" in refused.stderr
    assert "--anyway" in refused.stderr
    assert not (home.repo / DOCUMENT).exists()
    told = home.json("import", "local", "echo", "--anyway")

    assert told["exact"] is False
    assert "adopt: true" in told["files"][0]["text"]
    plan = home.json("plan")
    own = [change for change in plan["changes"] if change["service"] == "echo"]
    assert [change["action"] for change in own] == ["adopt"]
    assert sorted(field["pointer"] for field in own[0]["fields"]) == [
        "/environmentVariables/TOKEN",
        "/mark/installation",
    ]
    assert workers(home) == before
    assert not any(CANARY in text for text in home.said)
    # Taken over, so that it goes with the rest of this test.
    taken = home.run("apply", "--allow-dirty", "--yes")
    assert taken.returncode == 0, taken.stdout + taken.stderr


def test_what_is_not_there_and_what_is_in_the_way(home: Home, tmp_path: Path) -> None:
    """Names that lead nowhere are told with what was meant; no file is overwritten, none is left half-written."""
    deployed(home)
    # A wrong target comes before a service that exists.
    assert "there is no target 'lcoal'" in home.run("import", "lcoal", "echo").stderr
    box = {"type": "local", "local": {"engine": "docker", "dockerHost": "unix:///nowhere/docker.sock"}}
    targets = {name: {**TARGET, "metadata": {"name": name}, "spec": box} for name in ("box", "broken")}
    targets["broken"] = {**targets["broken"], "spec": {"type": "lokal"}}
    home.write({DOCUMENT: None, **{f"targets/{name}.yaml": json.dumps(text) for name, text in targets.items()}})
    for words, code, said in (
        (("import", "local", "ehco"), 10, "did you mean 'echo'"),
        (("import", "nowhere", "echo"), 10, "there is no target 'nowhere'"),
        (("import", "broken", "echo"), 11, "the document of target broken has errors"),
        (("import", "box", "echo"), 12, "containers are not known: container engine at unix:///nowhere/docker.sock"),
        (("import", "local", "echo", "--as", "No_Name"), 10, "lower-case letters"),
        (("import", "local", "echo", "--as", "other"), 13, "'echo' at target local cannot be service 'other'"),
        (("import", "local", "echo", "--repo", "https://example.invalid/repo.git"), 10, "--out"),
    ):
        done = home.run(*words)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    out = tmp_path / "out"
    home.ok("import", "local", "echo", "--out", str(out))
    assert (out / DOCUMENT).exists()
    assert not (home.repo / DOCUMENT).exists()
    done = home.run("import", "local", "echo", "--out", str(out))
    assert done.returncode == 13
    assert "exists already" in done.stderr
    shutil.rmtree(out)
    home.write({"inference/echo.yaml": None, "inference/echo/other.py": SCRIPT, "inference/score.py": None})
    done = home.run("import", "local", "echo")
    assert done.returncode == 13
    assert "inference/echo exists already" in done.stderr
    home.write({"inference/echo.yaml": inference(entryScript="inference/echo/other.py")})
