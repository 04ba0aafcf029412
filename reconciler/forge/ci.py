"""What a run in CI knows of itself: forge, repository, pull request, commit, and why its token may not write.

From the variables that each documents: GitHub Actions "Variables", GitLab "Predefined CI/CD variables", Azure Pipelines
"Predefined variables". Nothing is asked of a network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import quote, urlsplit

from reconciler.core.dataclass import dataclass
from reconciler.forge.api import text_of
from reconciler.forge.forge import Provider

TOKENS = {
    Provider.GITHUB: ("GITHUB_TOKEN", "GH_TOKEN"),
    Provider.GITLAB: ("GITLAB_TOKEN",),
    Provider.AZURE_DEVOPS: ("SYSTEM_ACCESSTOKEN", "AZURE_DEVOPS_EXT_PAT"),
}
# Azure DevOps has none: every organization has an address of its own.
DEFAULT_APIS = {Provider.GITHUB: "https://api.github.com", Provider.GITLAB: "https://gitlab.com/api/v4"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the variables say; what they do not say is empty.

    Args:
        head: The newest commit of the pull request's own branch when the run began.
        untrusted: Why the run's token may not write, in words; empty where it may.
        details_url: A page about the run.
        summary: File whose Markdown the run's page shows.
        ca_file: Certificates of the forge.
        graphql: Address of GitHub's other API.
        pipeline: Number of GitLab's pipeline, and its commit.
    """

    provider: Provider | None = None
    api: str = ""
    project: str = ""
    pull_request: int | None = None
    head: str = ""
    untrusted: str = ""
    details_url: str = ""
    summary: str = ""
    ca_file: str = ""
    graphql: str = ""
    pipeline: tuple[str, str] = ("", "")


def surroundings(environ: Mapping[str, str], read: Callable[[str], str]) -> Surroundings:
    """What the variables of this process say of the run it belongs to.

    Args:
        read: Gives a file's text; raises OSError.
    """
    if environ.get("GITHUB_ACTIONS") == "true":
        return _github(environ, read)
    if environ.get("GITLAB_CI") == "true":
        return _gitlab(environ)
    if environ.get("TF_BUILD", "").lower() == "true":
        return _azure(environ)
    return Surroundings()


def _github(environ: Mapping[str, str], read: Callable[[str], str]) -> Surroundings:
    event = _event(environ.get("GITHUB_EVENT_PATH", ""), read)
    repository, server = environ.get("GITHUB_REPOSITORY", ""), environ.get("GITHUB_SERVER_URL", "https://github.com")
    run = environ.get("GITHUB_RUN_ID", "")
    pull = event.get("pull_request")
    number = text_of(pull, "number")
    # A comment on a pull request is the comment of an issue.
    if not number and "pull_request" in _mapping(event.get("issue")):
        number = text_of(event, "issue", "number")
    if not number:
        number = _between(environ.get("GITHUB_REF", ""), "refs/pull/", "/")
    untrusted = ""
    # `pull_request_target` and the like run with the token of the repository itself.
    if environ.get("GITHUB_EVENT_NAME") == "pull_request" and pull is not None:
        if text_of(pull, "head", "repo", "full_name") != repository:
            untrusted = "the pull request comes from a fork"
        elif environ.get("GITHUB_ACTOR") == "dependabot[bot]":
            untrusted = "Dependabot's runs have a token that only reads"
    return Surroundings(
        Provider.GITHUB,
        environ.get("GITHUB_API_URL", ""),
        repository,
        _number(number),
        text_of(pull, "head", "sha"),
        untrusted,
        f"{server}/{repository}/actions/runs/{run}" if repository and run else "",
        environ.get("GITHUB_STEP_SUMMARY", ""),
        graphql=environ.get("GITHUB_GRAPHQL_URL", ""),
    )


def _event(path: str, read: Callable[[str], str]) -> dict[str, Any]:
    try:
        return _mapping(json.loads(read(path))) if path else {}
    except (OSError, ValueError):
        return {}


def _gitlab(environ: Mapping[str, str]) -> Surroundings:
    project = environ.get("CI_MERGE_REQUEST_PROJECT_ID") or environ.get("CI_PROJECT_ID", "")
    source = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID") or project
    number = environ.get("CI_MERGE_REQUEST_IID", "")
    commit = environ.get("CI_COMMIT_SHA", "")
    return Surroundings(
        Provider.GITLAB,
        environ.get("CI_API_V4_URL", ""),
        project,
        _number(number),
        (environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or commit) if number else "",
        "the merge request comes from a fork" if source != project else "",
        environ.get("CI_JOB_URL", ""),
        ca_file=environ.get("CI_SERVER_TLS_CA_FILE", ""),
        pipeline=(environ.get("CI_PIPELINE_ID", ""), commit),
    )


def _azure(environ: Mapping[str, str]) -> Surroundings:
    collection = environ.get("SYSTEM_COLLECTIONURI") or environ.get("SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "")
    team, build = environ.get("SYSTEM_TEAMPROJECT", ""), environ.get("BUILD_BUILDID", "")
    page = f"{collection.rstrip('/')}/{quote(team)}/_build/results?buildId={build}" if collection and build else ""
    fork = environ.get("SYSTEM_PULLREQUEST_ISFORK", "").lower() == "true"
    untrusted = "the pull request comes from a fork" if fork else ""
    head = environ.get("SYSTEM_PULLREQUEST_SOURCECOMMITID", "")
    if environ.get("BUILD_REPOSITORY_PROVIDER", "").startswith("GitHub"):
        # Azure Pipelines builds repositories at GitHub, too; its own token is of no use there.
        return Surroundings(
            Provider.GITHUB,
            _api_of(environ.get("BUILD_REPOSITORY_URI", "")),
            environ.get("BUILD_REPOSITORY_NAME", ""),
            _number(environ.get("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "")),
            head,
            untrusted,
            page,
        )
    repository = environ.get("BUILD_REPOSITORY_ID") or environ.get("BUILD_REPOSITORY_NAME", "")
    return Surroundings(
        Provider.AZURE_DEVOPS,
        collection,
        f"{team}/{repository}" if team and repository else "",
        _number(environ.get("SYSTEM_PULLREQUEST_PULLREQUESTID", "")),
        head,
        untrusted,
        page,
    )


def _api_of(uri: str) -> str:
    """The API of the GitHub that a repository lies at."""
    host = urlsplit(uri).hostname or ""
    return f"https://{host}/api/v3" if host and host != "github.com" else ""


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _between(text: str, before: str, after: str) -> str:
    return text.removeprefix(before).partition(after)[0] if text.startswith(before) else ""


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
