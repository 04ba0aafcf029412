"""Azure DevOps, Services and Server alike.

From Microsoft's REST API specifications (git 6.0, which Server 2020 and all later ones answer): pull request threads
and their comments, pull requests, commit statuses; `connectionData` says whose token it is.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

from reconciler.core.commit_status import CommitState, CommitStatus
from reconciler.forge.api import Api, text_of
from reconciler.forge.forge import Comment

# What the web page's editor and the API take; .NET counts in UTF-16 units.
LONGEST_COMMENT = 150_000
NEEDS = {
    "comment": "writing comments takes the permission “Contribute to pull requests” on the repository for the build's "
    "identity (Project settings, Repositories, Security), or a token with scope Code (read & write)",
    "status": "posting commit statuses takes a token with scope Code (status), of an identity that may contribute to "
    "the repository",
    "read": "reading takes a token with scope Code (read)",
}
_VERSION = {"api-version": "6.0"}
# A number each, as the specifications' own examples send them.
_TEXT = 1
_CLOSED = 4
_STATES = {
    CommitState.PENDING: "pending",
    CommitState.SUCCESS: "succeeded",
    CommitState.FAILURE: "failed",
    CommitState.STOPPED: "error",
}


def headers(token: str) -> dict[str, str]:
    """What every request carries.

    The token of a pipeline (System.AccessToken) and those of Entra are JSON Web Tokens and go as Bearer; a personal
    access token is the password of a user without a name.
    """
    web_token = token.startswith("eyJ") and token.count(".") == 2
    basic = base64.b64encode(f":{token}".encode()).decode()
    return {
        "Authorization": f"Bearer {token}" if web_token else f"Basic {basic}",
        "Accept": "application/json",
        # A refusal instead of a way to a page to sign in.
        "X-TFS-FedAuthRedirect": "Suppress",
    }


class AzureDevOps:
    """A Git repository at Azure DevOps: implements `Forge`. The API's base is that of the organization or collection.

    Args:
        project: `project/repository`, each by name or id.
    """

    longest = LONGEST_COMMENT

    def __init__(self, api: Api, project: str) -> None:
        self._api = api
        self._project = project
        team, _, repository = project.partition("/")
        self._path = f"{quote(team, safe='')}/_apis/git/repositories/{quote(repository, safe='')}"
        self._user: str | None = None

    def close(self) -> None:
        """Closes the connection."""
        self._api.close()

    def head(self, pull_request: int) -> str:
        """The commit that the pull request was last merged from."""
        path, about = f"{self._path}/pullrequests/{pull_request}", f"pull request {pull_request} of {self._project}"
        found = self._api.call("GET", path, doing="read", about=about, query=_VERSION)
        return text_of(found, "lastMergeSourceCommit", "commitId")

    def comments(self, pull_request: int) -> Iterator[Comment]:
        """The comment that each thread begins with; all threads come in one answer."""
        path, about = self._threads(pull_request), self._about(pull_request)
        found = self._api.call("GET", path, doing="comment", about=about, query=_VERSION)
        listed = cast("dict[str, Any]", found).get("value") if isinstance(found, dict) else None
        threads: list[dict[str, Any]] = listed or []
        for thread in sorted(threads, key=lambda t: int(t.get("id") or 0)):
            first = next(iter(thread.get("comments") or ()), None)
            shown = not thread.get("isDeleted") and first is not None and not first.get("isDeleted")
            if first is not None and shown and first.get("commentType") != "system":
                yield _comment(thread, first)

    def is_ours(self, comment: Comment) -> bool:
        """By the identity's id."""
        if self._user is None:
            found = self._api.call(
                "GET",
                "_apis/connectionData",
                doing="read",
                about="whose token it is",
                query={"api-version": "6.0-preview"},
            )
            self._user = text_of(found, "authenticatedUser", "id")
        return bool(self._user) and comment.author == self._user

    def create(self, pull_request: int, body: str) -> Comment:
        """A thread of its own, closed: a plan is no question that must be answered before the merge."""
        comment = {"parentCommentId": 0, "content": body, "commentType": _TEXT}
        thread = self._api.call(
            "POST",
            self._threads(pull_request),
            doing="comment",
            about=self._about(pull_request),
            query=_VERSION,
            send={"comments": [comment], "status": _CLOSED},
            once=True,
        )
        comments: list[Any] = thread.get("comments") or [{}]
        return _comment(thread, comments[0])

    def update(self, pull_request: int, comment: Comment, body: str) -> Comment:
        """Other words in a comment."""
        path, about = self._of(pull_request, comment), self._about(pull_request)
        self._api.call("PATCH", path, doing="comment", about=about, query=_VERSION, send={"content": body})
        return comment

    def delete(self, pull_request: int, comment: Comment) -> None:
        """Takes a comment away; its thread goes with its only one."""
        path, about = self._of(pull_request, comment), self._about(pull_request)
        self._api.call("DELETE", path, doing="comment", about=about, query=_VERSION)

    def post_status(self, sha: str, status: CommitStatus, environment: str, url: str = "") -> None:
        """A status of the genre `reconciler`, named after the environment."""
        told = {"state": _STATES[status.state], "description": status.line}
        send = {
            **told,
            "context": {"genre": "reconciler", "name": environment},
            **({"targetUrl": url} if url else {}),
        }
        path, about = f"{self._path}/commits/{sha}/statuses", f"the status of commit {sha[:7]} of {self._project}"
        self._api.call("POST", path, doing="status", about=about, query=_VERSION, send=send)

    def _threads(self, pull_request: int) -> str:
        return f"{self._path}/pullRequests/{pull_request}/threads"

    def _of(self, pull_request: int, comment: Comment) -> str:
        thread, _, number = comment.id.partition("/")
        return f"{self._threads(pull_request)}/{thread}/comments/{number}"

    def _about(self, pull_request: int) -> str:
        return f"the comments of pull request {pull_request} of {self._project}"


def _comment(thread: Any, first: Any) -> Comment:
    return Comment(
        f"{text_of(thread, 'id')}/{text_of(first, 'id')}", text_of(first, "content"), text_of(first, "author", "id")
    )
