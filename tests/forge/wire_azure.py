"""Azure DevOps at the wire: threads of pull requests, `connectionData`, commit statuses.

Paths, codes and messages are those of Microsoft's specifications (git 6.0) and of what the service answers to wrong
calls: TF401027 and the like, versions that are missing, a page to sign in for those it does not know.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.forge.wire import UNEXPECTED, Answer, Request, Wire

LONGEST = 150_000
JWT = "eyJ0eXAiOiJKV1QifQ.eyJuYW1laWQiOiJidWlsZCJ9.c2lnbmF0dXJl"
PAT = "personal" * 6


@dataclass
class Token:
    """Whose it is, how it is sent, and what it may do."""

    user: str
    scheme: str = "Bearer"
    contributes: bool = True
    statuses: bool = True


class AzureWire(Wire):
    """One repository, `Shop/models`, with pull request 7.

    Args:
        collection: Path of the organization or collection.
    """

    def __init__(self, certificate: Any = None, collection: str = "/fabrikam") -> None:
        self.collection = collection
        self.tokens = {JWT: Token("build-service"), PAT: Token("ada", "Basic")}
        self.head = "a" * 40
        self.commits = {self.head}
        self.threads: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self._next = 140
        super().__init__(certificate)
        self.api = f"{self.origin}{collection}/"

    def add(self, content: str, user: str = "build-service", kind: str = "text", status: str = "") -> dict[str, Any]:
        """A thread that somebody began."""
        self._next += 1
        comment = {
            "id": 1,
            "parentCommentId": 0,
            "author": {"id": user, "displayName": user},
            "content": content,
            "commentType": kind,
        }
        thread = {"id": self._next, "comments": [comment], "isDeleted": False, "properties": {}}
        # The newest thread stands first, as the service lists them by their last change.
        self.threads.insert(0, {**thread, **({"status": status} if status else {})})
        return self.threads[0]

    def handle(self, request: Request) -> Answer:
        token = self._token(request)
        if token is None:
            return self._unknown(request)
        path = request.path.removeprefix(self.collection)
        version = request.query.get("api-version", "")
        if path == "/_apis/connectionData":
            if version and "preview" not in version:
                said = f'The requested version "{version}" of the resource is under preview. The -preview flag must be '
                return _refused(
                    400, f"{said}supplied in the api-version for such requests.", "VssInvalidPreviewVersion"
                )
            return Answer(200, {"authenticatedUser": {"id": token.user, "providerDisplayName": token.user}})
        if request.method != "GET" and not version:
            said = f'No api-version was supplied for the "{request.method}" request.'
            return _refused(400, said, "VssVersionNotSpecifiedException")
        if version and not re.fullmatch(r"[5-7]\.\d", version):
            return _refused(
                400, "The requested REST API version is out of range for this server.", "VssVersionOutOfRange"
            )
        found = re.fullmatch(r"/([^/]+)/_apis/git/repositories/([^/]+)/(.+)", path)
        if found is None:
            return UNEXPECTED
        if (found[1], found[2]) != ("Shop", "models"):
            said = f"TF401019: The Git repository with name or identifier {found[2]} does not exist or you do not have "
            return _refused(404, f"{said}permissions for the operation.", "GitRepositoryNotFoundException")
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"GET pullrequests/7", lambda *_: Answer(200, {"lastMergeSourceCommit": {"commitId": self.head}})),
            (
                r"GET pullrequests/7/threads",
                lambda *_: Answer(200, {"value": self.threads, "count": len(self.threads)}),
            ),
            (r"POST pullrequests/7/threads", self._create),
            (r"PATCH pullrequests/7/threads/(\d+)/comments/(\d+)", self._update),
            (r"DELETE pullrequests/7/threads/(\d+)/comments/(\d+)", self._delete),
            (r"POST commits/([^/]+)/statuses", self._status),
            (
                r"\w+ pullrequests/\d+.*",
                lambda *_: _refused(404, "TF401180: The requested pull request was not found."),
            ),
        ]
        for pattern, work in routes:
            # Azure DevOps does not tell `pullRequests` from `pullrequests`.
            matched = re.fullmatch(pattern, f"{request.method} {found[3].replace('pullRequests', 'pullrequests')}")
            if matched:
                return work(request, token, *matched.groups())
        return UNEXPECTED

    def _token(self, request: Request) -> Token | None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            secret = base64.b64decode(secret).decode().partition(":")[2]
        token = self.tokens.get(secret)
        return token if token is not None and token.scheme == scheme else None

    def _unknown(self, request: Request) -> Answer:
        if request.headers.get("x-tfs-fedauthredirect", "").lower() == "suppress":
            return Answer(401, "<html>TF400813: The user is not authorized to access this resource.</html>")
        return Answer(
            302, "<html>", {"location": "https://spsprodweu1.vssps.visualstudio.com/_signin?realm=dev.azure.com"}
        )

    def _create(self, request: Request, token: Token) -> Answer:
        comments = (request.body or {}).get("comments") or [{}]
        wrong = _wrong(token, comments[0].get("content"))
        if wrong:
            return wrong
        status = {0: "unknown", 1: "active", 2: "fixed", 3: "wontFix", 4: "closed", 5: "byDesign", 6: "pending"}
        return Answer(200, self.add(comments[0]["content"], token.user, status=status[request.body.get("status", 0)]))

    def _update(self, request: Request, token: Token, thread: str, number: str) -> Answer:
        wrong = _wrong(token, (request.body or {}).get("content"))
        comment = self._comment(thread, number)
        if comment is None:
            return _refused(404, "TF401151: The comment does not exist.", "CommentNotFoundException")
        if wrong:
            return wrong
        if comment["author"]["id"] != token.user:
            return _refused(403, "TF401168: You may only edit your own comments.", "CommentCannotBeUpdatedException")
        comment["content"] = request.body["content"]
        return Answer(200, comment)

    def _delete(self, request: Request, token: Token, thread: str, number: str) -> Answer:
        comment = self._comment(thread, number)
        if comment is None:
            return _refused(404, "TF401151: The comment does not exist.", "CommentNotFoundException")
        if comment["author"]["id"] != token.user:
            return _refused(403, "TF401168: You may only delete your own comments.", "CommentCannotBeUpdatedException")
        comment.pop("content")
        comment["isDeleted"] = True
        next(t for t in self.threads if t["id"] == int(thread))["isDeleted"] = True
        return Answer(200)

    def _comment(self, thread: str, number: str) -> dict[str, Any] | None:
        for found in self.threads:
            for comment in found["comments"]:
                alive = not comment.get("isDeleted")
                if (found["id"], comment["id"]) == (int(thread), int(number)) and alive:
                    return comment
        return None

    def _status(self, request: Request, token: Token, sha: str) -> Answer:
        if not token.statuses:
            return _refused(403, "TF401027: You need the Git 'GenericContribute' permission to perform this action.")
        told = request.body
        if sha not in self.commits:
            return _refused(404, f"TF401175: The commit {sha} does not exist.", "GitCommitDoesNotExistException")
        if not told.get("context", {}).get("name"):
            return _refused(400, "A status context with a name is required.", "ArgumentNullException")
        if told.get("state") not in ("notSet", "pending", "succeeded", "failed", "error", "notApplicable"):
            return _refused(400, "The state is not valid.", "VssPropertyValidationException")
        self.statuses.append({"sha": sha, **told})
        return Answer(201, self.statuses[-1])


def _wrong(token: Token, content: Any) -> Answer | None:
    if not token.contributes:
        said = (
            "TF401027: You need the Git 'PullRequestContribute' permission to perform this action. Details: identity "
        )
        return _refused(403, f"{said}'Build\\build-service', scope 'repository'.", "GitNeedsPermissionException")
    if not isinstance(content, str) or not content:
        return _refused(400, "VS403417: The comment content must not be empty.", "ArgumentException")
    if len(content.encode("utf-16-le")) // 2 > LONGEST:
        return _refused(
            400, f"VS403417: The comment must not be longer than {LONGEST} characters.", "ArgumentException"
        )
    return None


def _refused(status: int, message: str, kind: str = "GitNeedsPermissionException") -> Answer:
    return Answer(status, {"$id": "1", "message": message, "typeKey": kind, "errorCode": 0, "eventId": 3000})
