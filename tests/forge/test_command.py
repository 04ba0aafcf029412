"""`reconciler comment` from the outside: a process with the variables of a run, and a forge at the wire."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import prefork
from tests.cli.conftest import environment
from tests.forge.conftest import Bench
from tests.forge.wire import Answer, Wire

PLAN = "<!-- reconciler-plan -->\n### 1 to update\n"
HEAD = "a" * 40


class Run:
    """One run in CI: its folder, its variables, and a forge."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.summary = folder / "summary.md"
        self.event: dict[str, Any] = {
            "pull_request": {"number": 7, "head": {"sha": HEAD, "repo": {"full_name": "team/models"}}}
        }
        self.variables = {"github": self._github, "gitlab": self._gitlab, "azure-devops": self._azure}[
            bench.provider.value
        ]()

    def __call__(self, *words: str, text: str = PLAN, **more: str | None) -> subprocess.CompletedProcess[str]:
        (self.folder / "event.json").write_text(json.dumps(self.event))
        given = {**self.variables, **more}
        clean = {k: v for k, v in environment(self.folder / "state").items() if not k.startswith(CI)}
        variables = {**clean, **{name: value for name, value in given.items() if value is not None}}
        return prefork.run("reconciler", ("comment", *words), self.folder, variables, text=text)

    def _github(self) -> dict[str, str]:
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.bench.wire.api,
            "GITHUB_REPOSITORY": "team/models",
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_TOKEN": self.bench.token,
            "SSL_CERT_FILE": str(self.bench.certificate),
        }

    def _gitlab(self) -> dict[str, str]:
        return {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": self.bench.wire.api,
            "CI_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_COMMIT_SHA": HEAD,
            "CI_SERVER_TLS_CA_FILE": str(self.bench.certificate),
            "GITLAB_TOKEN": self.bench.token,
        }

    def _azure(self) -> dict[str, str]:
        return {
            "TF_BUILD": "True",
            "SYSTEM_COLLECTIONURI": self.bench.wire.api,
            "SYSTEM_TEAMPROJECT": "Shop",
            "BUILD_REPOSITORY_ID": "models",
            "BUILD_REPOSITORY_PROVIDER": "TfsGit",
            "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
            "SYSTEM_PULLREQUEST_SOURCECOMMITID": HEAD,
            "SYSTEM_PULLREQUEST_ISFORK": "False",
            "SYSTEM_ACCESSTOKEN": self.bench.token,
            "SSL_CERT_FILE": str(self.bench.certificate),
        }


# Those of whoever runs the tests.
CI = ("GITHUB_", "GITLAB_", "CI", "SYSTEM_", "BUILD_", "TF_BUILD", "GH_TOKEN", "SSL_CERT", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def run(bench: Bench, tmp_path: Path) -> Run:
    """A run at each forge in turn."""
    return Run(bench, tmp_path)


@pytest.fixture
def actions(benches: Callable[[str], Bench], tmp_path: Path) -> Run:
    """A run of GitHub Actions."""
    return Run(benches("github"), tmp_path)


def test_a_run_needs_no_options(run: Run) -> None:
    """Forge, repository, pull request, address, certificates and token are what the run says; the next run updates."""
    first = run()
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("comment created")
    second = run("--file", "-", text=PLAN.replace("1", "2"))
    assert second.stdout.startswith("comment updated")
    third = run("-o", "json", text=PLAN.replace("1", "2"))
    assert json.loads(third.stdout)["result"] == "unchanged"
    assert run.bench.bodies() == ["<!-- reconciler-plan -->\n### 2 to update\n"]


def test_from_anywhere_with_options(bench: Bench, tmp_path: Path) -> None:
    """Without a run's variables, options name everything, and the token's file."""
    (tmp_path / "plan.md").write_text(PLAN)
    (tmp_path / "token").write_text(f"{bench.token}\n")
    run = Run(bench, tmp_path)
    run.variables = {}
    words = ["--forge", bench.provider.value, "--project", bench.project, "--pull-request", "7", "--file", "plan.md"]
    more = ["--api-url", bench.wire.api, "--token-file", "token", "--ca-file", str(bench.certificate)]
    done = run(*words, *more, "--env", "production", "--path", "teams/a")
    assert (done.returncode, done.stderr) == (0, "")
    assert bench.bodies()[0].startswith("<!-- reconciler-plan env=production path=teams/a -->\n###")


def test_a_run_of_a_fork_says_so_and_ends_well(actions: Run) -> None:
    """Its token only reads: the text stands in the run's summary, and nothing fails."""
    actions.event["pull_request"]["head"]["repo"]["full_name"] = "mallory/models"
    done = actions(GITHUB_TOKEN=actions.bench.poor)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not written: the pull request comes from a fork" in done.stdout
    assert "stands in the run's summary" in done.stdout
    assert actions.summary.read_text() == f"{PLAN}\n"
    assert actions.bench.bodies() == []
    done = actions("-o", "json", GITHUB_TOKEN=None, GITHUB_STEP_SUMMARY=None)
    told = json.loads(done.stdout)
    assert (done.returncode, told["result"], "has no token" in told["reason"]) == (0, "skipped", True)


def test_forks_elsewhere_end_well_too(benches: Callable[[str], Bench], tmp_path: Path) -> None:
    """A merge request from another project, and Azure's flag, without a token."""
    gitlab = Run(benches("gitlab"), tmp_path)
    done = gitlab(CI_MERGE_REQUEST_SOURCE_PROJECT_ID="77", GITLAB_TOKEN=None)
    assert (done.returncode, "from a fork" in done.stdout) == (0, True)
    azure = Run(benches("azure-devops"), tmp_path)
    done = azure(SYSTEM_PULLREQUEST_ISFORK="True", SYSTEM_ACCESSTOKEN="$(System.AccessToken)")
    assert (done.returncode, "from a fork" in done.stdout) == (0, True)


def test_without_a_token_it_says_where_one_comes_from(run: Run) -> None:
    """No fork, no token: an error that names the variable."""
    names = {"github": "GITHUB_TOKEN", "gitlab": "GITLAB_TOKEN", "azure-devops": "SYSTEM_ACCESSTOKEN"}
    name = names[run.bench.provider.value]
    done = run(**{name: None})
    assert done.returncode == 12
    assert "there is no token for" in done.stderr
    assert name in done.stderr


def test_a_token_that_may_not_write_is_an_error_of_its_own_repository(run: Run) -> None:
    """12, with the permission by name; as JSON, too."""
    name = next(name for name in run.variables if "TOKEN" in name)
    done = run(**{name: run.bench.poor})
    assert done.returncode == 12
    assert any(word in done.stderr for word in ("pull-requests: write", "scope `api`", "Contribute to pull requests"))
    told = json.loads(run("-o", "json", **{name: run.bench.poor}).stdout)
    assert (told["kind"], told["code"], told["exitCode"]) == ("Error", "access", 12)


def test_the_run_of_an_older_commit_writes_nothing(run: Run) -> None:
    """The pull request has moved on."""
    run.bench.wire.head = "b" * 40
    done = run()
    assert (done.returncode, "has a newer commit" in done.stdout) == (0, True)
    assert run.bench.bodies() == []


@pytest.mark.parametrize(
    ("words", "more", "code", "told"),
    [
        ((), {"text": " \n"}, 11, "the text is empty"),
        (("--file", "gone.md"), {}, 11, "gone.md cannot be read: No such file"),
        (("--file", "."), {}, 11, "cannot be read: Is a directory"),
        ((), {"GITHUB_REF": "refs/heads/main", "GITHUB_EVENT_PATH": "/none"}, 10, "belongs to no pull request"),
        (("--pull-request", "seven"), {}, 10, "no whole number"),
        (("--forge", "gerrit"), {}, 10, "invalid choice"),
        (("--token-env", "A", "--token-file", "b"), {}, 10, "not allowed with"),
        (("--token", "c4n4ry"), {}, 10, "unknown option '--token'"),
        (("--api-url", "ghe.example"), {}, 11, "is no address of GitHub's API"),
        (("--api-url", "https://[::1"), {}, 11, "is no address of GitHub's API"),
        ((), {"GITHUB_TOKEN": "c4n4ry 1"}, 11, "something else than a token"),
        ((), {"GITHUB_REPOSITORY": ""}, 10, "which repository at GitHub"),
        ((), {"GITHUB_ACTIONS": None}, 10, "nothing says which forge is meant"),
        (("--ca-file", "gone.pem"), {}, 11, "gone.pem cannot be read"),
    ],
)
def test_wrong_calls(actions: Run, words: tuple[str, ...], more: Mapping[str, Any], code: int, told: str) -> None:
    """What was wrong, and no traceback; no token is repeated."""
    done = actions(*words, **more)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert "c4n4ry" not in done.stdout + done.stderr


def test_no_canary_in_any_output(run: Run) -> None:
    """The token is in no output, whatever the forge answers, with every word of detail."""
    name = next(name for name in run.variables if "TOKEN" in name)
    run.bench.wire.fail("^GET", Answer(400, {"message": "bad header: c4n4ry-token-1"}))
    done = run("-v", **{name: "c4n4ry-token-1"})
    assert done.returncode != 0
    assert "c4n4ry" not in done.stdout + done.stderr


def test_a_forge_without_encryption_is_warned_of(tmp_path: Path, benches: Callable[[str], Bench]) -> None:
    """It works, as some servers of one's own still are, and says where the token goes."""
    from tests.forge.wire_github import GitHubWire

    wire: Wire = GitHubWire()
    try:
        run = Run(benches("github"), tmp_path)
        done = run(GITHUB_API_URL=wire.origin)
        assert (done.returncode, done.stdout.startswith("comment created")) == (0, True)
        assert f"the token goes to {wire.origin} without encryption" in done.stderr
    finally:
        wire.close()
