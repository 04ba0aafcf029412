"""The action and the templates of deploy/ci: of the right form, and run for real in a simulated service."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import prefork
from tests.cli.conftest import commit, environment, git
from tests.forge.conftest import Bench
from tests.forge.pipelines import DEPLOY, Checkout, Outcome, actions, azure, gitlab

HEAD = "a" * 40


@dataclass
class Service:
    """A service with one pull request: a repo at a forge, the commit it would be merged as, and a run's variables."""

    bench: Bench
    folder: Path
    repo: Path
    depth: int = 2
    event: str = "pull_request"
    fork: bool = False
    inputs: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    shell: str = "bash"

    def change(self, files: Mapping[str, str]) -> None:
        """What the pull request changes."""
        git(self.repo, "checkout", "-q", "-b", "feature")
        for name, text in files.items():
            (self.repo / name).parent.mkdir(parents=True, exist_ok=True)
            (self.repo / name).write_text(text)
        commit(self.repo, "Change")
        git(self.repo, "checkout", "-q", "main")
        # The branch it would be merged into has moved on, too.
        git(self.repo, "commit", "-q", "--allow-empty", "-m", "Meanwhile")
        git(self.repo, "checkout", "-q", "--detach")
        git(self.repo, "merge", "-q", "--no-ff", "-m", "Merge feature into main", "feature")
        git(self.repo, "update-ref", "refs/pull/7/merge", "HEAD")
        git(self.repo, "checkout", "-q", "main")

    def run(self, token: str | None = None, **inputs: str) -> tuple[Checkout, Outcome]:
        """One run of a fresh checkout."""
        number = sum(path.name.startswith("run-") for path in self.folder.iterdir())
        place = self.folder / f"run-{number}"
        place.mkdir()
        checkout = Checkout(place, self.depth)
        origin = place / "origin.git"
        git(place, "clone", "-q", "--mirror", str(self.repo), str(origin))
        git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
        ref = "refs/pull/7/merge" if self.event == "pull_request" else "refs/heads/main"
        sha = git(origin, "rev-parse", ref).strip()
        self.bench.wire.commits.add(sha)
        checkout.of(origin, sha, "refs/remotes/pull/7/merge")
        own = self.bench.token if token is None else token
        work = {"github": self._github, "gitlab": self._gitlab, "azure-devops": self._azure}[self.bench.provider.value]
        return checkout, work(checkout, sha, own, {**self.inputs, **inputs})

    def _github(self, checkout: Checkout, sha: str, token: str, inputs: dict[str, str]) -> Outcome:
        full = "mallory/models" if self.fork else "team/models"
        pull = {"number": 7, "head": {"sha": HEAD, "repo": {"full_name": full}}}
        (checkout.folder / "event.json").write_text(json.dumps({"pull_request": pull} if self.event != "push" else {}))
        variables = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.bench.wire.api,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": "team/models",
            "GITHUB_EVENT_NAME": self.event,
            "GITHUB_EVENT_PATH": str(checkout.folder / "event.json"),
            "GITHUB_REF": "refs/heads/main" if self.event == "push" else "refs/pull/7/merge",
            "GITHUB_SHA": sha,
            "GITHUB_RUN_ID": "99",
            "SSL_CERT_FILE": str(self.bench.certificate),
            **self.variables,
        }
        return actions(checkout, variables, inputs, token)

    def _gitlab(self, checkout: Checkout, sha: str, token: str, inputs: dict[str, str]) -> Outcome:
        base = git(self.repo, "rev-parse", "main").strip()
        variables = {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": self.bench.wire.api,
            "CI_PROJECT_ID": "77" if self.fork else "42",
            "CI_COMMIT_SHA": sha,
            # A job of its own: what it puts in the machine's folder for temporary files is named by it.
            "CI_JOB_ID": str(int(hashlib.sha256(str(checkout.folder).encode()).hexdigest()[:12], 16)),
            "CI_SERVER_TLS_CA_FILE": str(self.bench.certificate),
            "GITLAB_TOKEN": token,
            **self.variables,
        }
        if self.event == "pull_request":
            variables |= {
                "CI_MERGE_REQUEST_PROJECT_ID": "42",
                "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "77" if self.fork else "42",
                "CI_MERGE_REQUEST_IID": "7",
                "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
                "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": HEAD,
            }
        job = f".reconciler-{inputs.pop('command', 'plan')}"
        inputs.pop("commit-status", None)
        given = {f"RC_{name.replace('-', '_').upper()}": value for name, value in inputs.items()}
        return gitlab(checkout, job, {**variables, **given}, self.shell)

    def _azure(self, checkout: Checkout, sha: str, token: str, inputs: dict[str, str]) -> Outcome:
        variables = {
            "TF_BUILD": "True",
            "SYSTEM_COLLECTIONURI": self.bench.wire.api,
            "SYSTEM_TEAMPROJECT": "Shop",
            "BUILD_REPOSITORY_ID": "models",
            "BUILD_REPOSITORY_PROVIDER": "TfsGit",
            "BUILD_REASON": "PullRequest" if self.event == "pull_request" else "IndividualCI",
            "SSL_CERT_FILE": str(self.bench.certificate),
            **self.variables,
        }
        if self.event == "pull_request":
            variables |= {
                "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
                "SYSTEM_PULLREQUEST_SOURCECOMMITID": HEAD,
                "SYSTEM_PULLREQUEST_ISFORK": str(self.fork),
            }
        given = {re.sub("-(.)", lambda found: found[1].upper(), name): value for name, value in inputs.items()}
        return azure(checkout, variables, given, token)


@pytest.fixture
def service(
    request: pytest.FixtureRequest, benches: Callable[[str], Bench], tmp_path: Path, quickstart: Path
) -> Service:
    """The quickstart's repo at a forge, with a pull request that wants two workers."""
    made = Service(benches(request.param), tmp_path, Path(shutil.copytree(quickstart, tmp_path / "repo")))
    manifest = (made.repo / "services/diabetes.yaml").read_text()
    made.change({"services/diabetes.yaml": manifest.replace("  tests:", "  deployment: {replicas: 2}\n  tests:")})
    return made


FORGES = ["github", "gitlab", "azure-devops"]
everywhere = pytest.mark.parametrize("service", FORGES, indirect=True)
# Each run takes seconds: every template is seen at work by the short suite, all that each can do by the long one.
_DETAILS = [pytest.param(name, marks=() if name == "github" else pytest.mark.long) for name in FORGES]
in_detail = pytest.mark.parametrize("service", _DETAILS, indirect=True)
on_github = pytest.mark.parametrize("service", ["github"], indirect=True)


@everywhere
def test_a_pull_request_shows_what_it_would_change(service: Service) -> None:
    """One comment with the plan of the merge, which says nothing of what the branch has meanwhile; then an update."""
    checkout, done = service.run(environment="")
    assert done.code == 0, done.log
    (body,) = service.bench.bodies()
    assert "1 to update" in body
    assert "/workers  1 → 2" in body
    assert "Merge feature into main" in body
    assert "comment created" in done.log
    _, again = service.run()
    assert (again.code, "the comment says so already" in again.log) == (0, True), again.log
    # A plan is made without a token, whatever it may read.
    seen = {words[1]: bool(words[0]) for words in checkout.calls()}
    assert (seen["plan"], seen["comment"]) == (False, True)


@in_detail
def test_manifests_with_errors_fail_the_run_after_the_comment(service: Service) -> None:
    """The reviewers see why; the run ends with the plan's exit code."""
    git(service.repo, "branch", "-q", "-D", "feature")
    service.change({"services/diabetes.yaml": "apiVersion: reconciler/v1\nkind: Servise\n"})
    _, done = service.run()
    assert done.code == 11, done.log
    (body,) = service.bench.bodies()
    assert "#### Problems" in body
    assert "services/diabetes.yaml:2:7: error" in body


@in_detail
def test_a_pull_request_of_a_fork_is_planned_and_fails_nothing(service: Service) -> None:
    """Its run has no token that may write: the plan is in the run's own pages, and there is no comment."""
    service.fork = True
    token = service.bench.poor if service.bench.provider.value == "github" else ""
    checkout, done = service.run(token)
    assert (done.code, "not written" in done.log) == (0, True), done.log
    assert service.bench.bodies() == []
    shown = [checkout.folder / "summary.md", checkout.temp / "reconciler-plan.md", checkout.work / "plan.md"]
    assert any("1 to update" in path.read_text() for path in shown if path.exists())


@in_detail
def test_a_link_in_the_pull_request_is_not_written_through(service: Service) -> None:
    """What a run leaves behind is its own, whatever the checkout has under that name."""
    precious = service.folder / "precious"
    precious.write_text("mine")
    git(service.repo, "branch", "-q", "-D", "feature")
    for name in ("plan.md", "reconciler-plan.md", "reconciler-plan-.md", "summary.md"):
        (service.repo / name).symlink_to(precious)
    commit(service.repo, "Links")
    service.change({"services/diabetes.yaml": "apiVersion: reconciler/v1\nkind: Servise\n"})
    checkout, done = service.run()
    assert (done.code, precious.read_text()) == (11, "mine"), done.log
    assert "#### Problems" in service.bench.bodies()[0]
    if service.bench.provider.value == "gitlab":
        assert not (checkout.work / "plan.md").is_symlink()


@in_detail
def test_a_pull_request_is_compared_with_a_snapshot(service: Service) -> None:
    """Production as its daemon saw it, without access to it: there is nothing yet, so everything is new."""
    production = environment(service.folder / "production")
    path, origin = service.folder / "snapshot.json", str(service.repo)
    prefork.run("reconciler", ("snapshot", "--out", str(path)), service.repo, production)
    key = prefork.run("reconciler", ("snapshot", "--public-key"), service.repo, production).stdout.strip()
    inputs = {"snapshot": str(path), "snapshot-key": key, "snapshot-repo": origin}
    checkout, done = service.run(**inputs)
    assert done.code == 0, done.log
    (body,) = service.bench.bodies()
    assert "3 to create" in body
    assert re.search(r"Compared with what rc\\-\w+ saw \d+s ago", body)
    assert [bool(words[0]) for words in checkout.calls() if words[1] == "plan"] == [False]
    _, refused = service.run(**{**inputs, "snapshot-key": "rc-1:ed25519:" + "A" * 43 + "="})
    assert (refused.code, "is not signed by rc-1" in refused.log) == (13, True), refused.log


@pytest.mark.long
@in_detail
def test_a_plan_that_cannot_be_made_is_told(service: Service) -> None:
    """The state directory is a file: no plan, but a comment that says so, and the exit code."""
    (service.folder / "file").write_text("")
    service.variables["RECONCILER_STATE_DIR"] = str(service.folder / "file")
    _, done = service.run()
    assert done.code == 11, done.log
    (body,) = service.bench.bodies()
    assert "The plan could not be made" in body


@pytest.mark.long
@in_detail
def test_names_are_not_run(service: Service) -> None:
    """Whatever stands in an input, it is a word and never a command."""
    for evil in ("$(touch pwned)", "`touch pwned`", '"; touch pwned; "', "'; touch pwned; '", "--repo=/etc", "a b*"):
        checkout, done = service.run(environment=evil, path=evil)
        assert done.code != 0, evil
        assert list(service.folder.rglob("pwned")) == []
        assert not (checkout.work / "pwned").exists()


@pytest.mark.long
@in_detail
def test_a_checkout_of_the_newest_commit_alone_is_completed(service: Service) -> None:
    """The default of every service's checkout: what it is compared with is fetched."""
    service.depth = 1
    _, done = service.run()
    assert done.code == 0, done.log
    assert "1 to update" in service.bench.bodies()[0]


@pytest.mark.long
@in_detail
def test_validating(service: Service) -> None:
    """Every problem with its place, and the exit code; no comment."""
    assert service.run(command="validate")[1].code == 0
    git(service.repo, "branch", "-q", "-D", "feature")
    service.change({"services/diabetes.yaml": "apiVersion: reconciler/v1\nkind: Servise\n"})
    _, done = service.run(command="validate")
    assert (done.code, "services/diabetes.yaml:2:7: error" in done.log) == (11, True), done.log
    assert service.bench.bodies() == []


@in_detail
def test_applying_what_was_merged(service: Service) -> None:
    """On a push; a pull request is refused. The forge is told from beginning to end."""
    shutil.rmtree(service.repo)
    service.repo.mkdir()
    git(service.repo, "init", "-q", "-b", "main")
    model = {"apiVersion": "reconciler/v1", "kind": "Model", "metadata": {"name": "a"}, "spec": {"path": "a.bin"}}
    (service.repo / "models").mkdir()
    (service.repo / "models/a.yaml").write_text(json.dumps(model))
    (service.repo / "a.bin").write_text("one")
    commit(service.repo, "Start")
    service.event = "push"
    if service.bench.provider.value == "gitlab":
        service.variables["CI_PIPELINE_ID"] = "900"
    _, done = service.run(command="apply", **{"commit-status": "true"})
    assert done.code == 0, done.log
    assert [status["description"] for status in service.bench.wire.statuses][-1].endswith("1 change done.")


@pytest.mark.parametrize("service", ["github", "azure-devops"], indirect=True)
def test_a_pull_request_is_not_applied(service: Service) -> None:
    """Whoever opens one must not reach the targets."""
    checkout, done = service.run(command="apply")
    assert (done.code, "a pull request is not applied" in done.log) == (10, True)
    assert [words for words in checkout.calls() if words[1] == "apply"] == []


@on_github
def test_outputs_and_summary_of_the_action(service: Service) -> None:
    """What later steps can ask for; without a comment, the summary has the plan."""
    checkout, done = service.run(comment="false")
    assert done.outputs == {
        "exit-code": "0",
        "changes": "true",
        "plan": str(checkout.temp / "reconciler-plan-.md"),
    }
    assert "1 to update" in (checkout.folder / "summary.md").read_text()
    assert done.steps == ["Install reconciler", "Run reconciler", "Result"]
    service.event = "push"
    checkout, done = service.run(base="HEAD")
    assert (done.code, done.outputs["changes"]) == (0, "false")
    assert "Nothing to do" in (checkout.folder / "summary.md").read_text()


@on_github
def test_problems_are_annotated(service: Service) -> None:
    """Beside the files of the pull request."""
    git(service.repo, "branch", "-q", "-D", "feature")
    service.change({"services/diabetes.yaml": "apiVersion: reconciler/v1\nkind: Servise\n"})
    _, done = service.run()
    assert re.search(r"^::error file=services/diabetes.yaml,line=2,col=7,", done.log, re.MULTILINE)


@on_github
@pytest.mark.parametrize(
    ("event", "inputs", "told"),
    [
        ("pull_request_target", {}, "use the event pull_request"),
        ("pull_request", {"command": "destroy"}, "command must be plan, validate or apply"),
    ],
)
def test_what_the_action_refuses(service: Service, event: str, inputs: dict[str, str], told: str) -> None:
    """Before anything of the repository is read."""
    service.event = event
    checkout, done = service.run(**inputs)
    assert (done.code, told in done.log) == (10, True), done.log
    assert [words[1] for words in checkout.calls() if words[1] not in ("-I", "--version")] == []


@pytest.mark.long
@pytest.mark.parametrize("service", ["gitlab"], indirect=True)
def test_the_template_needs_no_bash(service: Service) -> None:
    """GitLab's runner takes what an image has."""
    service.shell = "dash"
    _, done = service.run(path="")
    assert done.code == 0, done.log
    assert "1 to update" in service.bench.bodies()[0]


# --- form


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("github-actions", "github/action.yml"),
        ("github-workflows", "github/workflow.yml"),
        ("gitlab-ci", "gitlab-ci.yml"),
        ("azure-pipelines", "azure-pipelines.yml"),
    ],
)
def test_the_templates_are_of_the_services_forms(schema: str, name: str) -> None:
    """By the schemas that the services publish."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(DEPLOY / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def scripts() -> list[tuple[str, str, str]]:
    """Every script of the templates, with its shell."""
    action = yaml.safe_load((DEPLOY / "github/action.yml").read_text())
    steps = yaml.safe_load((DEPLOY / "azure-pipelines.yml").read_text())["steps"]
    jobs = yaml.safe_load((DEPLOY / "gitlab-ci.yml").read_text())
    found = [(f"github {step['name']}", "bash", step["run"]) for step in action["runs"]["steps"]]
    found += [(f"azure {step['displayName']}", "bash", step["bash"]) for step in steps if "bash" in step]
    parts = ("before_script", "script", "after_script")
    return found + [(f"gitlab {n} {p}", "sh", "\n".join(job[p])) for n, job in jobs.items() for p in parts if p in job]


@pytest.mark.parametrize(("name", "shell", "script"), scripts(), ids=[name for name, *_ in scripts()])
def test_scripts_are_clean(name: str, shell: str, script: str) -> None:
    """By ShellCheck; and no expression stands in one, since it would be put into its text."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "shellcheck"), "-s", shell, "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert "${{" not in script


def test_the_action_and_its_workflow_are_safe(tmp_path: Path) -> None:
    """By zizmor, which knows how workflows are attacked."""
    (tmp_path / ".github/workflows").mkdir(parents=True)
    shutil.copy(DEPLOY / "github/workflow.yml", tmp_path / ".github/workflows")
    command = [str(Path(sys.executable).parent / "zizmor"), "--offline", "--no-progress", "--format", "json"]
    done = subprocess.run(
        [*command, str(tmp_path), str(DEPLOY / "github/action.yml")], capture_output=True, text=True, check=False
    )
    assert [finding["ident"] for finding in json.loads(done.stdout)] == []


def inputs_of(text: str) -> set[str]:
    """The inputs that a workflow gives to the action."""
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"] if "reconciler" in step["uses"]]
    return {name for step in steps for name in step.get("with", {})}


def test_the_workflow_gives_inputs_that_there_are() -> None:
    """Actions only warn of others."""
    action = yaml.safe_load((DEPLOY / "github/action.yml").read_text())
    assert inputs_of((DEPLOY / "github/workflow.yml").read_text()) <= set(action["inputs"])


@pytest.mark.long
def test_the_action_installs_itself(tmp_path: Path, quickstart: Path) -> None:
    """With the real Python and the real pip, from the source that the action came with."""
    action = yaml.safe_load((DEPLOY / "github/action.yml").read_text())
    variables = {"RUNNER_TEMP": str(tmp_path), "GITHUB_ACTION_PATH": str(DEPLOY / "github"), "REQUIREMENT": ""}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", action["runs"]["steps"][0]["run"]],
        env={**environment(tmp_path / "state"), **variables, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reconciler ")
    tool = [str(tmp_path / "reconciler/bin/reconciler"), "validate", "--repo", str(quickstart)]
    assert subprocess.run(tool, env=environment(tmp_path / "state"), check=False).returncode == 0
