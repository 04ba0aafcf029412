"""GitHub, github.com and Enterprise Server alike.

From GitHub's REST API description (2022-11-28): issue comments (a pull request is an issue), pulls, commit statuses.
Whose token it is, is asked of GraphQL: `GET /user` refuses the tokens that workflows have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from reconciler.core.commit_status import CommitState, CommitStatus
from reconciler.core.errors import TargetError
from reconciler.forge.api import Api, text_of
from reconciler.forge.forge import Comment

# "Body is too long (maximum is 65536 characters)", GitHub's own words for an issue comment.
LONGEST_COMMENT = 65_536
NEEDS = {
    "comment": "writing comments takes `permissions: {pull-requests: write}` in the workflow, or a token with "
    "`Pull requests: read and write` (a classic one: `repo`)",
    "status": "posting commit statuses takes `permissions: {statuses: write}` in the workflow, or a token with "
    "`Commit statuses: read and write` (a classic one: `repo:status`)",
    "read": "reading takes `permissions: {pull-requests: read}` in the workflow, or a token with `Pull requests: read`",
}
_STATES = {
    CommitState.PENDING: "pending",
    CommitState.SUCCESS: "success",
    CommitState.FAILURE: "failure",
    CommitState.STOPPED: "error",
}


def headers(token: str) -> dict[str, str]:
    """What every request carries."""
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }


class GitHub:
    """A repository at GitHub: implements `Forge`.

    Args:
        project: `owner/name`.
        graphql: Address of the GraphQL API; the one that belongs to the REST API's if empty.
    """

    longest = LONGEST_COMMENT

    def __init__(self, api: Api, project: str, graphql: str = "") -> None:
        self._api = api
        self._project = project
        self._repo = "repos/" + "/".join(quote(part, safe="") for part in project.split("/"))
        self._graphql = graphql or _graphql_of(api.base)
        self._login: str | None = None

    def close(self) -> None:
        """Closes the connection."""
        self._api.close()

    def head(self, pull_request: int) -> str:
        """`head.sha` of the pull request."""
        about = f"pull request {pull_request} of {self._project}"
        found = self._api.call("GET", f"{self._repo}/pulls/{pull_request}", doing="read", about=about)
        return text_of(found, "head", "sha")

    def comments(self, pull_request: int) -> Iterator[Comment]:
        """By ascending id, a hundred a page."""
        path, about = f"{self._repo}/issues/{pull_request}/comments", self._about(pull_request)
        for page in self._api.pages(path, doing="comment", about=about, query={"per_page": "100"}):
            yield from (_comment(item) for item in page)

    def is_ours(self, comment: Comment) -> bool:
        """By login; where GitHub does not say who we are, every program's comments with our marker count as ours."""
        if self._login is None:
            self._login = self._viewer()
        return comment.author == self._login if self._login else comment.bot

    def create(self, pull_request: int, body: str) -> Comment:
        """A new comment."""
        path, about = f"{self._repo}/issues/{pull_request}/comments", self._about(pull_request)
        return _comment(self._api.call("POST", path, doing="comment", about=about, send={"body": body}, once=True))

    def update(self, pull_request: int, comment: Comment, body: str) -> Comment:
        """Other words in a comment."""
        path, about = f"{self._repo}/issues/comments/{comment.id}", self._about(pull_request)
        return _comment(self._api.call("PATCH", path, doing="comment", about=about, send={"body": body}))

    def delete(self, pull_request: int, comment: Comment) -> None:
        """Takes a comment away."""
        path, about = f"{self._repo}/issues/comments/{comment.id}", self._about(pull_request)
        self._api.call("DELETE", path, doing="comment", about=about)

    def post_status(self, sha: str, status: CommitStatus, environment: str, url: str = "") -> None:
        """A status with the context `reconciler/<environment>`."""
        told = {"state": _STATES[status.state], "description": status.line, "context": f"reconciler/{environment}"}
        about = f"the status of commit {sha[:7]} of {self._project}"
        send = {**told, **({"target_url": url} if url else {})}
        self._api.call("POST", f"{self._repo}/statuses/{sha}", doing="status", about=about, send=send)

    def _about(self, pull_request: int) -> str:
        return f"the comments of pull request {pull_request} of {self._project}"

    def _viewer(self) -> str:
        try:
            query = {"query": "query { viewer { login } }"}
            found = self._api.call("POST", self._graphql, doing="read", about="whose token it is", send=query)
        except TargetError:
            return ""
        return text_of(found, "data", "viewer", "login")


def _graphql_of(base: str) -> str:
    """`https://api.github.com/graphql`; of an Enterprise Server, `https://HOST/api/graphql`."""
    return f"{base.removesuffix('/v3')}/graphql"


def _comment(item: Any) -> Comment:
    return Comment(
        text_of(item, "id"),
        text_of(item, "body"),
        text_of(item, "user", "login"),
        text_of(item, "html_url"),
        text_of(item, "user", "type") == "Bot",
    )
