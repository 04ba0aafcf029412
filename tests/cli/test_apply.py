"""The whole way, with a real environment and a real service, and the exit codes on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run, commit, environment

pytestmark = pytest.mark.long
DATA = '{"data": [[0.04, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0.0, 0.02, -0.02]]}'


@pytest.fixture
def applied(reconciler: Run, repo: Path) -> Iterator[Path]:
    """The quickstart, applied; destroyed afterwards."""
    done = reconciler("apply", cwd=repo)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield repo
    finally:
        reconciler("destroy", "--all", "--yes")


def pid_of(reconciler: Run, repo: Path) -> int:
    """Of the service's supervisor."""
    status = json.loads(reconciler("status", "diabetes", "-o", "json", cwd=repo).stdout)
    return int(status["resources"][0]["outputs"]["pid"])


def gone(pid: int) -> None:
    """Waits until a process has ended."""
    limit = time.monotonic() + 20
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < limit
        time.sleep(0.05)


def changed_by_hand(reconciler: Run, repo: Path, state: Path) -> None:
    """A key file that somebody rewrote: told with both sides hidden, by whom and since when, healed, in the history."""
    (supervisor,) = (state / "services").rglob("service.json")
    file = Path(json.loads(supervisor.read_text())["keysFile"])
    file.write_text(json.dumps({"keys": [{"slot": "spare", "sha256": "0" * 64}]}))
    told = reconciler("drift", "diabetes", "-o", "json", "--detailed-exitcode", cwd=repo)
    assert told.returncode == 3, told.stderr
    (drifted,) = json.loads(told.stdout)["drift"]
    assert {one["pointer"]: one["next"] for one in drifted["fields"]} == {
        f"/auth/keys/{slot}": "heal" for slot in ("primary", "secondary", "spare")
    }
    assert all(one["by"]["manager"].startswith("user ") for one in drifted["fields"])
    assert "(sensitive) added  taken back at the next reconcile" in reconciler("drift", cwd=repo).stdout
    assert reconciler("apply", cwd=repo).returncode == 0
    assert reconciler("drift", "--detailed-exitcode", cwd=repo).returncode == 0
    history = json.loads(reconciler("history", "-o", "json").stdout)["attempts"]
    assert [one["outcome"] for one in history[:3]] == ["applied", "recovered", "drift"]


def test_the_main_job(applied: Path, reconciler: Run, state: Path) -> None:
    """Apply, again, score, keys, a bad version, a killed process, destroy: each with its exit code."""
    again = reconciler("apply", cwd=applied)
    assert (again.returncode, again.stdout.splitlines()[-1][-14:]) == (0, "nothing to do.")

    scored = reconciler("score", "diabetes", "--data", DATA)
    assert scored.returncode == 0, scored.stderr
    (number,) = json.loads(scored.stdout)
    assert 100 < number < 300
    assert reconciler("score", "diabetes", "--data", "not json").returncode == 16
    assert reconciler("score", "diabetes", "--data", DATA, "--key", "env:PATH").returncode == 16

    before = reconciler("keys", "diabetes", "--show").stdout.split()
    renewed = reconciler("keys", "diabetes", "--regenerate", "primary", cwd=applied)
    assert (renewed.returncode, renewed.stderr.splitlines()[-1]) == (0, "diabetes: new primary key")
    document = json.loads(reconciler("keys", "diabetes", "--regenerate", "secondary", "-o", "json", cwd=applied).stdout)
    assert document["keys"]["secondary"] == {"source": "generated"}
    after = reconciler("keys", "diabetes", "--show").stdout.split()
    assert before[1] != after[1]
    assert before[3] != after[3]
    assert reconciler("score", "diabetes", "--data", DATA).returncode == 0
    everything = "".join(p.read_text() for p in applied.rglob("*.yaml")) + scored.stdout + renewed.stderr
    assert after[1] not in everything

    manifest = applied / "services/diabetes.yaml"
    good = manifest.read_text()
    bad = good.replace("shape: [1]", "shape: [2]").replace("  auth:", "  deployment: {replicas: 2}\n  auth:")
    manifest.write_text(bad)
    commit(applied, "Roll out with a test that fails")
    failed = reconciler("apply", cwd=applied)
    assert failed.returncode == 16, failed.stdout
    assert "test" in failed.stdout
    assert reconciler("score", "diabetes", "--data", DATA).returncode == 0
    manifest.write_text(good)
    commit(applied, "Back to good")
    assert reconciler("apply", cwd=applied).returncode == 0

    changed_by_hand(reconciler, applied, state)
    pid = pid_of(reconciler, applied)
    os.kill(pid, signal.SIGKILL)
    gone(pid)
    drifted = reconciler("drift", "--detailed-exitcode", cwd=applied)
    assert drifted.returncode == 3, drifted.stdout
    assert "diabetes" in drifted.stdout
    assert reconciler("score", "diabetes", "--data", DATA).returncode == 16
    assert reconciler("apply", "--timeout", "0", cwd=applied).returncode == 15
    healed = reconciler("apply", "-o", "json", cwd=applied)
    assert healed.returncode == 0, healed.stderr
    assert json.loads(healed.stdout)["changes"][0]["state"] == "done"
    assert reconciler("logs", "diabetes", "-n", "1").stdout.count("\n") == 1

    assert reconciler("suspend", "diabetes").returncode == 0
    assert "suspended" in reconciler("status", cwd=applied).stdout
    assert reconciler("resume", "diabetes").returncode == 0
    destroyed = reconciler("destroy", "diabetes", "--yes")
    assert destroyed.returncode == 0, destroyed.stderr
    assert json.loads(reconciler("history", "-o", "json").stdout)["attempts"]


def test_interrupted_and_gone_on(reconciler: Run, repo: Path, state: Path) -> None:
    """Ctrl-C during an apply ends with 130 and says how to go on; the next apply completes it."""
    command = [sys.executable, "-m", "reconciler", "apply"]
    with subprocess.Popen(
        command, cwd=repo, env=environment(state), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("Digest") for line in process.stdout)
        assert any("diabetes-ridge" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "apply again to go on" in rest
    try:
        assert reconciler("apply", cwd=repo).returncode == 0
    finally:
        reconciler("destroy", "--all", "--yes")
