"""What a run knows of itself, from the variables that CI sets and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.errors import InvalidError, UsageError
from reconciler.forge.ci import Surroundings, surroundings
from reconciler.forge.forge import Provider
from reconciler.forge.opening import Named, NoTokenError, repository_of, token_of

ACTIONS = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_API_URL": "https://ghe.example/api/v3",
    "GITHUB_GRAPHQL_URL": "https://ghe.example/api/graphql",
    "GITHUB_SERVER_URL": "https://ghe.example",
    "GITHUB_REPOSITORY": "team/models",
    "GITHUB_EVENT_NAME": "pull_request",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_SHA": "m" * 40,
    "GITHUB_RUN_ID": "99",
    "GITHUB_ACTOR": "ada",
    "GITHUB_STEP_SUMMARY": "/tmp/summary.md",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_API_V4_URL": "https://gitlab.example/api/v4",
    "CI_PROJECT_ID": "42",
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_PROJECT_ID": "42",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "42",
    "CI_COMMIT_SHA": "c" * 40,
    "CI_PIPELINE_ID": "900",
    "CI_JOB_URL": "https://gitlab.example/group/models/-/jobs/1",
    "CI_SERVER_TLS_CA_FILE": "/builds/ca.pem",
}
AZURE = {
    "TF_BUILD": "True",
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/fabrikam/",
    "SYSTEM_TEAMPROJECT": "My Shop",
    "BUILD_REPOSITORY_ID": "3411ebc1",
    "BUILD_REPOSITORY_NAME": "models",
    "BUILD_REPOSITORY_PROVIDER": "TfsGit",
    "BUILD_BUILDID": "12",
    "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
    "SYSTEM_PULLREQUEST_SOURCECOMMITID": "c" * 40,
    "SYSTEM_PULLREQUEST_ISFORK": "False",
}


def github(event: dict[str, Any] | None = None, **more: str) -> Surroundings:
    """A run of GitHub Actions with an event's file."""

    def read(path: str) -> str:
        assert path == "/event.json"
        return json.dumps(event)

    return surroundings({**ACTIONS, **({"GITHUB_EVENT_PATH": "/event.json"} if event else {}), **more}, read)


def nothing(path: str) -> str:
    """No file is there."""
    raise FileNotFoundError(path)


def pull(full_name: str | None) -> dict[str, Any]:
    """A pull request's event, from a branch of this repository or of another."""
    repo = {"full_name": full_name} if full_name else None
    return {"pull_request": {"number": 7, "head": {"sha": "c" * 40, "repo": repo}}}


def test_github_actions() -> None:
    """Pull request, commit of its own branch, the page of the run, and where an Enterprise Server has its APIs."""
    assert github(pull("team/models")) == Surroundings(
        Provider.GITHUB,
        "https://ghe.example/api/v3",
        "team/models",
        7,
        "c" * 40,
        "",
        "https://ghe.example/team/models/actions/runs/99",
        "/tmp/summary.md",
        graphql="https://ghe.example/api/graphql",
    )


@pytest.mark.parametrize(
    ("event", "more", "reason"),
    [
        (pull("mallory/models"), {}, "comes from a fork"),
        (pull(None), {}, "comes from a fork"),
        (pull("team/models"), {"GITHUB_ACTOR": "dependabot[bot]"}, "Dependabot"),
        (pull("team/models"), {}, ""),
        # Its token is the repository's own, and may write.
        (pull("mallory/models"), {"GITHUB_EVENT_NAME": "pull_request_target"}, ""),
    ],
)
def test_github_runs_that_may_not_write(event: dict[str, Any], more: dict[str, str], reason: str) -> None:
    """Those of forks, also of deleted ones, and Dependabot's."""
    told = github(event, **more).untrusted
    assert reason in told
    assert bool(reason) == bool(told)


@pytest.mark.parametrize(
    ("event", "more", "number"),
    [
        ({"issue": {"number": 8, "pull_request": {"url": "…"}}}, {"GITHUB_REF": "refs/heads/main"}, 8),
        ({"issue": {"number": 8}}, {"GITHUB_REF": "refs/heads/main"}, None),
        (None, {}, 7),
        (None, {"GITHUB_REF": "refs/heads/main", "GITHUB_EVENT_NAME": "push"}, None),
        ({"pull_request": "?"}, {"GITHUB_REF": ""}, None),
    ],
)
def test_the_pull_request_of_other_events(
    event: dict[str, Any] | None, more: dict[str, str], number: int | None
) -> None:
    """A comment on one, the ref alone, a push, and a file that makes no sense."""
    assert github(event, **more).pull_request == number


def test_an_event_file_that_cannot_be_read_is_none() -> None:
    """Variables alone are enough."""
    found = surroundings({**ACTIONS, "GITHUB_EVENT_PATH": "/gone"}, nothing)
    assert (found.pull_request, found.head) == (7, "")


def test_gitlab_ci() -> None:
    """Merge request, its commit, the pipeline, and the certificates of a server of one's own."""
    assert surroundings(GITLAB, nothing) == Surroundings(
        Provider.GITLAB,
        "https://gitlab.example/api/v4",
        "42",
        7,
        "c" * 40,
        "",
        "https://gitlab.example/group/models/-/jobs/1",
        ca_file="/builds/ca.pem",
        pipeline=("900", "c" * 40),
    )


def test_gitlab_merged_results_and_forks() -> None:
    """The commit of the source branch counts; a fork's pipeline writes to the project that it wants to merge into."""
    merged = surroundings({**GITLAB, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "d" * 40}, nothing)
    assert merged.head == "d" * 40
    fork = surroundings({**GITLAB, "CI_PROJECT_ID": "77", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "77"}, nothing)
    assert (fork.project, "fork" in fork.untrusted) == ("42", True)
    branch = {k: v for k, v in GITLAB.items() if "MERGE_REQUEST" not in k}
    assert (surroundings(branch, nothing).pull_request, surroundings(branch, nothing).head) == (None, "")


def test_azure_pipelines() -> None:
    """Collection, project and repository, pull request, and the page of the build."""
    assert surroundings(AZURE, nothing) == Surroundings(
        Provider.AZURE_DEVOPS,
        "https://dev.azure.com/fabrikam/",
        "My Shop/3411ebc1",
        7,
        "c" * 40,
        "",
        "https://dev.azure.com/fabrikam/My%20Shop/_build/results?buildId=12",
    )
    assert surroundings({**AZURE, "SYSTEM_PULLREQUEST_ISFORK": "True"}, nothing).untrusted


@pytest.mark.parametrize(
    ("provider", "uri", "api"),
    [
        ("GitHub", "https://github.com/team/models", ""),
        ("GitHubEnterprise", "https://ghe.example/team/models", "https://ghe.example/api/v3"),
    ],
)
def test_azure_pipelines_of_a_repository_at_github(provider: str, uri: str, api: str) -> None:
    """The comment belongs to where the pull request is."""
    variables = {
        "BUILD_REPOSITORY_PROVIDER": provider,
        "BUILD_REPOSITORY_URI": uri,
        "BUILD_REPOSITORY_NAME": "team/models",
        "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER": "11",
    }
    found = surroundings({**AZURE, **variables}, nothing)
    assert (found.provider, found.project, found.api, found.pull_request) == (Provider.GITHUB, "team/models", api, 11)


def test_elsewhere_somebody_must_say() -> None:
    """No variables, no forge; options name everything, and a repository's form is checked."""
    assert surroundings({"CI": "true"}, nothing) == Surroundings()
    with pytest.raises(UsageError, match="nothing says which forge"):
        repository_of(Named(), Surroundings())
    found = repository_of(Named(provider="github", project="team/models"), Surroundings())
    assert (found.project, found.api) == ("team/models", "https://api.github.com")
    with pytest.raises(UsageError, match="'models' is no repository at GitHub"):
        repository_of(Named(provider="github", project="models"), Surroundings())
    with pytest.raises(UsageError, match="which repository at GitLab"):
        repository_of(Named(provider="gitlab"), Surroundings())
    with pytest.raises(UsageError, match="where Azure DevOps is") as caught:
        repository_of(Named(provider="azure-devops", project="Shop/models"), Surroundings())
    assert "dev.azure.com" in caught.value.hint


def test_what_is_named_wins_and_another_forge_s_variables_do_not_count() -> None:
    """GitLab named in a run of GitHub Actions: nothing of the run is taken over but what is named."""
    around = github(pull("mallory/models"))
    other = repository_of(Named(provider="gitlab", project="group/models"), around)
    assert (other.api, other.around.untrusted, other.around.pull_request) == ("https://gitlab.com/api/v4", "", None)
    same = repository_of(Named(api="https://other.example/api/v3"), around)
    assert (same.api, same.project) == ("https://other.example/api/v3", "team/models")


def test_tokens(tmp_path: Path) -> None:
    """From CI's variable, a named one, or a file; never empty, never anything else than a token."""
    variables = {"GITHUB_TOKEN": " one\n", "MINE": "two", "SYSTEM_ACCESSTOKEN": "$(System.AccessToken)"}
    (tmp_path / "token").write_text("three\n")
    assert token_of(Named(), Provider.GITHUB, variables) == "one"
    assert token_of(Named(token_env="MINE"), Provider.GITLAB, variables) == "two"
    assert token_of(Named(token_file=str(tmp_path / "token")), Provider.GITLAB, variables) == "three"
    for provider, named in (
        (Provider.GITLAB, Named()),
        (Provider.GITHUB, Named(token_env="NOT_THERE")),
        # Azure Pipelines writes the reference itself where a run may not have the secret.
        (Provider.AZURE_DEVOPS, Named()),
    ):
        with pytest.raises(NoTokenError, match="there is no token"):
            token_of(named, provider, variables)
    with pytest.raises(InvalidError, match="cannot be read: No such file"):
        token_of(Named(token_file=str(tmp_path / "gone")), Provider.GITHUB, {})
    for wrong in ("c4n4ry two", "c4n4ry\nx: y", "c4n4ryé"):
        with pytest.raises(InvalidError, match="something else than a token") as caught:
            token_of(Named(), Provider.GITHUB, {"GITHUB_TOKEN": wrong})
        assert "c4n4ry" not in f"{caught.value.message}{caught.value.hint}"
