"""`apply --commit-status` and the daemon's settings, from the outside: real commands, and a forge at the wire."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Home
from tests.cli.conftest import git
from tests.daemon.rig import until
from tests.forge.conftest import Bench
from tests.forge.test_command import CI
from tests.forge.wire import Answer

MODEL = {
    "apiVersion": "reconciler/v1",
    "kind": "Model",
    "metadata": {"name": "ridge"},
    "spec": {"path": "models/a.bin"},
}


@pytest.fixture
def github(benches: Callable[[str], Bench]) -> Bench:
    """github.com at the wire."""
    return benches("github")


@pytest.fixture
def home(tmp_path: Path, github: Bench) -> Home:
    """A repo with one model, which is registered in a moment, and the variables of a run of GitHub Actions."""
    clean = {name: "" for name in os.environ if name.startswith(CI)}
    made = Home(tmp_path, variables=clean)
    made.write({"models/a.bin": b"one", "models/a.yaml": json.dumps(MODEL)})
    made.variables |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": github.wire.api,
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "team/models",
        "GITHUB_RUN_ID": "99",
        "GITHUB_TOKEN": github.token,
        "SSL_CERT_FILE": str(github.certificate),
    }
    github.wire.commits.add(head(made))
    return made


def head(home: Home) -> str:
    """The last commit."""
    return git(home.repo, "rev-parse", "HEAD").strip()


def posted(bench: Bench) -> list[tuple[str, str]]:
    """State and description of each status."""
    return [(status["state"], status["description"]) for status in bench.wire.statuses]


def test_applying_is_told_from_beginning_to_end(home: Home, github: Bench) -> None:
    """Pending, then success with what was done; the page is that of the run."""
    done = home.run("apply", "--commit-status")
    assert (done.returncode, done.stderr) == (0, done.stderr)
    short = head(home)[:7]
    assert posted(github) == [("pending", "applying"), ("success", f"Applied main@{short}: 1 change done.")]
    assert {status["context"] for status in github.wire.statuses} == {"reconciler/default"}
    assert {status["target_url"] for status in github.wire.statuses} == {
        "https://github.example/team/models/actions/runs/99"
    }
    assert {status["sha"] for status in github.wire.statuses} == {head(home)}
    home.ok("apply", "--commit-status")
    assert posted(github)[-1] == ("success", f"main@{short}: nothing to do.")


def test_each_environment_has_its_own_status(home: Home, github: Bench) -> None:
    """What was applied in one says nothing of another; the operator may call it something else."""
    overlay = {"kind": "Overlay", "metadata": {"name": "staging"}, "spec": {"overrides": []}}
    home.write({"environments/staging.yaml": json.dumps({"apiVersion": "reconciler/v1", **overlay})})
    github.wire.commits.add(head(home))
    home.ok("apply", "--commit-status", "--env", "staging")
    home.variables |= {"RECONCILER_FORGE__STATUS_NAME": "here"}
    home.ok("apply", "--commit-status", "--env", "staging")
    assert [status["context"] for status in github.wire.statuses[1::2]] == ["reconciler/staging", "reconciler/here"]


def test_what_fails_is_told_too(home: Home, github: Bench) -> None:
    """Manifests with errors, and a model whose bytes are not those that were registered: one line, no details."""
    home.write({"models/b.yaml": json.dumps({**MODEL, "metadata": {"name": "b"}, "spec": {"pat": "x"}})})
    github.wire.commits.add(head(home))
    assert home.run("apply", "--commit-status").returncode == 11
    assert posted(github)[-1] == ("failure", "nothing was changed: some manifests have errors")
    home.write({"models/b.yaml": None})
    github.wire.commits.add(head(home))
    home.ok("apply", "--commit-status")
    wrong = {**MODEL, "spec": {**MODEL["spec"], "sha256": "0" * 64, "version": "2"}}  # type: ignore[dict-item]
    home.write({"models/a.yaml": json.dumps(wrong)})
    github.wire.commits.add(head(home))
    done = home.run("apply", "--commit-status")
    assert done.returncode != 0
    assert posted(github)[-1][0] == "failure"


def test_a_forge_that_cannot_be_told_fails_nothing(home: Home, github: Bench) -> None:
    """Applying is what counts; what could not be told is said."""
    github.wire.fail("POST .*statuses", Answer(403, {"message": "Resource not accessible by integration"}), times=9)
    done = home.run("apply", "--commit-status")
    assert done.returncode == 0
    assert done.stderr.count("commit status not posted") == 2
    assert "statuses: write" in done.stderr


def test_who_asks_for_a_status_must_say_where(home: Home) -> None:
    """Before anything is done."""
    home.variables |= {"GITHUB_ACTIONS": "", "GITHUB_TOKEN": ""}
    done = home.run("apply", "--commit-status")
    assert (done.returncode, "nothing says which forge is meant" in done.stderr) == (11, True)
    home.variables |= {"GITHUB_ACTIONS": "true"}
    done = home.run("apply", "--commit-status")
    assert (done.returncode, "there is no token for GitHub" in done.stderr) == (12, True)
    assert home.run("history", "-o", "json").stdout.count('"outcome"') == 0


def test_uncommitted_files_have_no_status(home: Home, github: Bench) -> None:
    """What is applied is no commit."""
    (home.repo / "models/a.bin").write_bytes(b"two")
    done = home.run("apply", "--commit-status", "--allow-dirty")
    assert "no commit status: what is applied is no commit" in done.stderr
    assert posted(github) == []


def settings(home: Home, bench: Bench, **more: Any) -> None:
    """The operator's settings, as the daemon reads them; the token is in a file."""
    (home.folder / "token").write_text(bench.token)
    forge = {
        "provider": bench.provider.value,
        "project": bench.project,
        "apiUrl": bench.wire.api,
        "tokenFile": str(home.folder / "token"),
        "caFile": str(bench.certificate),
        "commitStatus": True,
        "statusName": "laptop",
        "detailsUrl": "https://ops.example/models",
        **more,
    }
    home.settings.write_text(json.dumps({"forge": forge, "daemon": {"listen": "127.0.0.1:0"}}))


@pytest.mark.parametrize(
    "bench",
    ["github", *(pytest.param(name, marks=pytest.mark.long) for name in ("gitlab", "azure-devops"))],
    indirect=True,
)
def test_the_daemon_tells_each_forge(home: Home, bench: Bench) -> None:
    """With settings alone, and no variables of a CI; a command beside it is told by its own words."""
    home.variables |= {"GITHUB_ACTIONS": "", "SSL_CERT_FILE": ""}
    settings(home, bench)
    bench.wire.commits.add(head(home))
    daemon = home.start("run", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: posted(bench) and posted(bench)[-1][0] in ("success", "succeeded"))
        done = home.run("apply", "--commit-status")
        assert done.returncode == 0, done.stderr
        assert "nothing to do" in posted(bench)[-1][1]
    finally:
        daemon.send_signal(signal.SIGTERM)
        _, logged = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, logged
    assert bench.token not in logged


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"project": ""}, "which repository at GitHub"),
        ({"tokenFile": "/gone"}, "the file /gone cannot be read"),
        ({"caFile": "/gone.pem"}, "/gone.pem cannot be read"),
        ({"provider": "gerrit"}, "forge.provider should be"),
        ({"token": "c4n4ry"}, "unknown setting 'token'"),
        ({"apiUrl": "ghe.example"}, "is no address of GitHub's API"),
    ],
)
def test_wrong_settings_stop_the_daemon_at_once(home: Home, github: Bench, more: dict[str, Any], told: str) -> None:
    """Not when the first commit was applied."""
    home.variables |= {"GITHUB_ACTIONS": ""}
    settings(home, github, **more)
    done = home.run("run")
    assert (done.returncode, told in done.stderr) == (11, True), done.stderr
    assert "c4n4ry" not in done.stderr
