"""Commands on a state of their own, as far as no environment has to be built for them."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.cli.commands import init
from tests.cli.conftest import Run, commit, environment, git

EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart"
TEMPLATE = Path(init.__file__).parents[1] / "templates" / "quickstart"


def test_a_new_repo_works_at_once(reconciler: Run, quickstart: Path) -> None:
    """`init` leaves a clean working copy with one commit, whose plan creates the example."""
    assert git(quickstart, "status", "--porcelain") == ""
    assert git(quickstart, "log", "--format=%s") == "Start\n"
    done = reconciler("plan", "--detailed-exitcode", cwd=quickstart)
    assert done.returncode == 2, done.stderr
    assert "Plan: 3 to create." in done.stdout


def test_schema_lines_of_a_new_repo_lead_somewhere(quickstart: Path) -> None:
    """An editor finds the schema that each manifest names."""
    named = 0
    for path in quickstart.rglob("*.yaml"):
        for found in re.findall(r"\$schema=(\S+)", path.read_text()):
            assert (path.parent / found).resolve().is_file()
            named += 1
    assert named == 3


def test_init_refuses_a_folder_that_is_not_empty(reconciler: Run, tmp_path: Path) -> None:
    """Nothing is overwritten: exit 13."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    done = reconciler("init", "mine")
    assert done.returncode == 13
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


def test_init_without_example(reconciler: Run, tmp_path: Path) -> None:
    """Folders alone are a valid repo of no services."""
    assert reconciler("init", "empty", "--example", "none").returncode == 0
    done = reconciler("validate", cwd=tmp_path / "empty")
    assert done.returncode == 0
    assert "0 services, no problems" in done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "models/diabetes-ridge.pkl",
        "models/diabetes-ridge.yaml",
        "inference/sklearn.yaml",
        "inference/sklearn/requirements.txt",
        "inference/sklearn/score.py",
        "services/diabetes.yaml",
        "train.py",
    ],
)
def test_the_template_is_the_example(name: str) -> None:
    """What `init` writes is examples/quickstart, byte for byte."""
    kept = TEMPLATE / name
    kept = kept if kept.exists() else kept.with_name(f"{kept.name}.template")
    assert kept.read_bytes() == (EXAMPLE / name).read_bytes()


def test_uncommitted_files_are_not_applied_unasked(reconciler: Run, repo: Path) -> None:
    """A dirty working copy is refused with the names of the files and the ways on: exit 13."""
    (repo / "services/diabetes.yaml").unlink()
    done = reconciler("apply", cwd=repo)
    assert done.returncode == 13
    assert "services/diabetes.yaml" in done.stderr
    assert "--allow-dirty" in done.stderr


def test_manifests_with_errors_are_not_applied(reconciler: Run, repo: Path) -> None:
    """Without --partial nothing is done: exit 11, with the problems."""
    (repo / "services/bad.yaml").write_text("apiVersion: reconciler/v1\nkind: Service\nspec: {}\n")
    commit(repo)
    done = reconciler("apply", cwd=repo)
    assert done.returncode == 11
    assert "services/bad.yaml:" in done.stderr
    assert "nothing was changed" in done.stderr


def test_only_the_approved_plan_is_applied(reconciler: Run, repo: Path) -> None:
    """Another digest than the plan's is stale: exit 14, and nothing is done."""
    done = reconciler("apply", "--approve", "0" * 64, cwd=repo)
    assert done.returncode == 14
    assert "is not the approved one" in done.stderr
    assert json.loads(reconciler("history", "-o", "json").stdout)["attempts"] == []


def test_a_remote_that_is_not_there(reconciler: Run) -> None:
    """An unreachable repo is 12."""
    done = reconciler("plan", "--repo", "http://127.0.0.1:1/x.git")
    assert done.returncode == 12
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [("suspend", "nope"), ("logs", "nope"), ("score", "nope"), ("keys", "nope"), ("status", "nope"), ("drift", "nope")],
)
def test_unknown_services(reconciler: Run, repo: Path, words: tuple[str, ...]) -> None:
    """A service that is not there is a wrong call: exit 10."""
    done = reconciler(*words, cwd=repo)
    assert done.returncode == 10
    assert "there is no service 'nope'" in done.stderr


def test_destroying_needs_a_word(reconciler: Run) -> None:
    """Without a terminal to ask on, `destroy` needs --yes: exit 13."""
    done = reconciler("destroy", "--all")
    assert done.returncode == 13
    assert "--yes" in done.stderr


def test_destroying_an_unknown_service(reconciler: Run) -> None:
    """Nothing of that name is known: exit 10, and nothing is suspended."""
    assert reconciler("destroy", "nope", "--yes").returncode == 10


def test_an_empty_installation(reconciler: Run, repo: Path) -> None:
    """Before anything was applied, reports are empty and everything is pending."""
    assert "Nothing has been applied yet" in reconciler("history").stdout
    assert "No drift" in reconciler("drift", cwd=repo).stdout
    assert reconciler("drift", "--detailed-exitcode", "-o", "markdown", cwd=repo).returncode == 2
    status = json.loads(reconciler("status", "-o", "json", cwd=repo).stdout)
    assert [(s["name"], s["health"], s["sync"]) for s in status["services"]] == [("diabetes", "Missing", "pending")]


def test_which_policy_decides_is_told_without_looking(reconciler: Run, repo: Path) -> None:
    """Rules in the order in which they are asked, with their places; a service that is not there is a wrong call."""
    file = repo / "services" / "diabetes.yaml"
    text = file.read_text().replace("spec:", "spec:\n  policy: {drift: {default: report, ignore: [/workers]}}", 1)
    file.write_text(text)
    line = text.splitlines().index("  policy: {drift: {default: report, ignore: [/workers]}}") + 1
    told = reconciler("drift", "--policy", cwd=repo).stdout
    assert [line.split() for line in told.splitlines()[1:]] == [
        ["diabetes", "ignore", "/workers", "service", f"(services/diabetes.yaml:{line}:46)"],
        ["report", "all", "others", "service"],
    ]
    (rule,) = json.loads(reconciler("drift", "--policy", "-o", "json", cwd=repo).stdout)["services"]["diabetes"][
        "rules"
    ]
    assert (rule["policy"], rule["pattern"]) == ("ignore", "/workers")
    missing = reconciler("drift", "--policy", "diabete", cwd=repo)
    assert missing.returncode == 10
    assert "diabetes" in missing.stderr


def test_approvals_are_recorded(reconciler: Run) -> None:
    """An approval is noted for the plan that will come."""
    done = reconciler("approve", "a" * 64)
    assert (done.returncode, done.stdout) == (0, f"approved {'a' * 64}\n")


def test_the_lease_is_shown_and_taken_away(reconciler: Run, state: Path) -> None:
    """Nobody yet; then the last holder, given back; another id, or one given back, cannot be released."""
    assert "Nobody has been at work" in reconciler("lock", "list").stdout
    assert reconciler("approve", "0" * 64).returncode == 0
    (lease,) = json.loads(reconciler("lock", "list", "-o", "json").stdout)["locks"]
    assert (lease["state"], lease["purpose"], lease["id"]) == ("released", "approve", 1)
    done = reconciler("lock", "release", "1")
    assert done.returncode == 14, done.stderr
    assert "given back" in done.stderr
    with closing(sqlite3.connect(state / "state.db", isolation_level=None)) as database:
        database.execute("update lease set expires_at = 9e9, pid = 4194305")
    assert "dead" in reconciler("lock", "list").stdout
    assert "ended without giving lease 1 back" in reconciler("doctor").stdout
    with closing(sqlite3.connect(state / "state.db", isolation_level=None)) as database:
        database.execute("update lease set pid = ?", (os.getpid(),))
    refused = reconciler("lock", "release", "1")
    assert refused.returncode == 13, refused.stderr
    assert str(os.getpid()) in refused.stderr
    assert "held" in reconciler("lock", "list").stdout
    assert reconciler("lock", "release", "1", "--force").returncode == 0
    history = reconciler("history").stdout
    assert "released" in history
    assert "taken from approve on" in history
    assert reconciler("approve", "0" * 64).returncode == 0
    (lease,) = json.loads(reconciler("lock", "list", "-o", "json").stdout)["locks"]
    assert lease["id"] == 3


def test_half_a_command_names_its_halves(reconciler: Run) -> None:
    """`lock` alone, or with a word it does not know, says what there is; help works for both words."""
    for words in (("lock",), ("lock", "lst")):
        done = reconciler(*words)
        assert done.returncode == 10
        assert "`lock list`" in done.stderr
        assert "`lock release`" in done.stderr
    assert "reconciler lock release 7" in reconciler("help", "lock", "release").stdout


def test_a_damaged_store(reconciler: Run, repo: Path, state: Path) -> None:
    """A store that is no database is told with what to do: exit 11."""
    state.mkdir()
    (state / "state.db").write_bytes(b"garbage" * 1000)
    done = reconciler("status", cwd=repo)
    assert done.returncode == 11
    assert "damaged" in done.stderr
    assert "adopted" in done.stderr


@pytest.mark.parametrize("words", [("history",), ("status",), ("suspend", "x"), ("approve", "a" * 64)])
def test_a_state_directory_that_cannot_be(reconciler: Run, repo: Path, words: tuple[str, ...]) -> None:
    """Where no state can be kept, that is said: exit 11."""
    done = reconciler(*words, cwd=repo, RECONCILER_STATE_DIR="/proc/nowhere")
    assert done.returncode == 11
    assert "state directory /proc/nowhere cannot be made" in done.stderr


def test_a_damaged_identity(reconciler: Run, repo: Path, state: Path) -> None:
    """An identity file that cannot be used is never replaced: exit 11."""
    state.mkdir()
    (state / "identity.json").write_text("{}")
    assert reconciler("plan", cwd=repo).returncode == 11
    assert (state / "identity.json").read_text() == "{}"


def test_doctor(reconciler: Run, repo: Path) -> None:
    """Every check has a state and a finding; a healthy machine ends with 0."""
    done = reconciler("doctor", "-o", "json", cwd=repo)
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    assert {"python", "git", "uv", "settings", "state", "disk", "repo"} <= checks.keys()
    assert all(c["finding"] and c["state"] in ("ok", "warn") for c in checks.values())


def test_doctor_finds_faults(reconciler: Run, tmp_path: Path) -> None:
    """What fails says what to do, and ends with 11."""
    done = reconciler("doctor", "--repo", str(tmp_path / "nowhere"))
    assert done.returncode == 11
    assert "does not exist" in done.stdout


def test_schemas_are_written(reconciler: Run, tmp_path: Path) -> None:
    """`schema --write` writes one file a kind, which `schema KIND` prints."""
    assert reconciler("schema", "--write", "out").returncode == 0
    assert json.loads((tmp_path / "out/service.json").read_text())["title"] == "Service"
    assert reconciler("schema", "Service").stdout == (tmp_path / "out/service.json").read_text()


def test_the_daemon_and_ctrl_c(repo: Path, state: Path) -> None:
    """`run` works until Ctrl-C, and then ends with 130; meanwhile nobody else may write."""
    # A repo without services: no environment is built.
    (repo / "services/diabetes.yaml").unlink()
    (repo / "models/diabetes-ridge.yaml").unlink()
    commit(repo)
    command = [sys.executable, "-m", "reconciler", "run", "--listen", "127.0.0.1:0", "--log-format", "json"]
    with subprocess.Popen(command, cwd=repo, env=environment(state), stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        assert any('"reconcile"' in line for line in daemon.stderr)
        second = subprocess.run(command, cwd=repo, env=environment(state), capture_output=True, text=True, check=False)
        assert second.returncode == 14
        assert "another writer is at work" in second.stderr
        os.kill(daemon.pid, signal.SIGINT)
        daemon.stderr.read()
    assert daemon.returncode == 130
