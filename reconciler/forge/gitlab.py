"""GitLab, gitlab.com and self-managed alike.

From GitLab's REST API documentation (v4): notes of merge requests, commit statuses, the current user; what a status
may become, from `Ci::CreateCommitStatusService`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from reconciler.core.commit_status import CommitState, CommitStatus
from reconciler.core.errors import TargetError
from reconciler.forge.api import Api, text_of
from reconciler.forge.forge import Comment

# Notes API: "Limited to 1,000,000 characters".
LONGEST_COMMENT = 1_000_000
NEEDS = {
    "comment": "writing comments takes a personal, project or group access token with scope `api`, of at least a "
    "Reporter; CI_JOB_TOKEN may not",
    "status": "posting commit statuses takes an access token with scope `api`, of at least a Developer",
    "read": "reading takes an access token with scope `api` or `read_api`",
}
_STATES = {
    CommitState.PENDING: "running",
    CommitState.SUCCESS: "success",
    CommitState.FAILURE: "failed",
    CommitState.STOPPED: "canceled",
}


def headers(token: str) -> dict[str, str]:
    """What every request carries: access tokens and OAuth tokens alike are taken so."""
    return {"Authorization": f"Bearer {token}"}


class GitLab:
    """A project at GitLab: implements `Forge`.

    Args:
        project: Its path (`group/name`) or number.
        pipeline: Number of the pipeline that a status belongs to, and the commit of it; empty if there is none.
    """

    longest = LONGEST_COMMENT

    def __init__(self, api: Api, project: str, pipeline: tuple[str, str] = ("", "")) -> None:
        self._api = api
        self._project = project
        self._path = f"projects/{quote(project, safe='')}"
        self._pipeline = pipeline
        self._user: str | None = None

    def close(self) -> None:
        """Closes the connection."""
        self._api.close()

    def head(self, pull_request: int) -> str:
        """`sha` of the merge request."""
        about = f"merge request {pull_request} of {self._project}"
        found = self._api.call("GET", f"{self._path}/merge_requests/{pull_request}", doing="read", about=about)
        return text_of(found, "sha")

    def comments(self, pull_request: int) -> Iterator[Comment]:
        """Notes that people or programs wrote, oldest first, a hundred a page."""
        query = {"sort": "asc", "order_by": "created_at", "per_page": "100"}
        path, about = self._notes(pull_request), self._about(pull_request)
        for page in self._api.pages(path, doing="comment", about=about, query=query):
            yield from (_comment(item) for item in page if not item.get("system"))

    def is_ours(self, comment: Comment) -> bool:
        """By number of the user; a token that may not ask who it belongs to may not write comments either."""
        if self._user is None:
            found = self._api.call("GET", "user", doing="comment", about="whose token it is")
            self._user = text_of(found, "id")
        return bool(self._user) and comment.author == self._user

    def create(self, pull_request: int, body: str) -> Comment:
        """A new note."""
        path, about = self._notes(pull_request), self._about(pull_request)
        return _comment(self._api.call("POST", path, doing="comment", about=about, send={"body": body}, once=True))

    def update(self, pull_request: int, comment: Comment, body: str) -> Comment:
        """Other words in a note."""
        path, about = f"{self._notes(pull_request)}/{comment.id}", self._about(pull_request)
        return _comment(self._api.call("PUT", path, doing="comment", about=about, send={"body": body}))

    def delete(self, pull_request: int, comment: Comment) -> None:
        """Takes a note away."""
        path, about = f"{self._notes(pull_request)}/{comment.id}", self._about(pull_request)
        self._api.call("DELETE", path, doing="comment", about=about)

    def post_status(self, sha: str, status: CommitStatus, environment: str, url: str = "") -> None:
        """A status named `reconciler/<environment>`; in a pipeline of that commit, one of its jobs."""
        told = {"state": _STATES[status.state], "name": f"reconciler/{environment}", "description": status.line}
        number, of = self._pipeline
        send = {
            **told,
            **({"target_url": url} if url else {}),
            **({"pipeline_id": number} if number and of == sha else {}),
        }
        about = f"the status of commit {sha[:7]} of {self._project}"
        try:
            self._api.call("POST", f"{self._path}/statuses/{sha}", doing="status", about=about, send=send)
        except TargetError as error:
            # A status that runs already cannot be set running: what was asked for is so.
            if status.state is not CommitState.PENDING or "Cannot transition status" not in error.message:
                raise

    def _notes(self, merge_request: int) -> str:
        return f"{self._path}/merge_requests/{merge_request}/notes"

    def _about(self, merge_request: int) -> str:
        return f"the comments of merge request {merge_request} of {self._project}"


def _comment(item: Any) -> Comment:
    return Comment(text_of(item, "id"), text_of(item, "body"), text_of(item, "author", "id"))
