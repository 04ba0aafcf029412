"""GitHub at the wire: issue comments, pull requests, commit statuses and `viewer`.

Paths, codes and messages are those of GitHub's REST API description 2022-11-28 and of what it answers to wrong calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.forge.wire import UNEXPECTED, Answer, Request, Wire, whole_number

LONGEST = 65_536
MOST_STATUSES = 1000


@dataclass
class Token:
    """Whose it is and what it may do: `pull_requests` and `statuses`, each `read` or `write`."""

    login: str
    bot: bool = True
    permissions: dict[str, str] = field(default_factory=lambda: {"pull_requests": "write", "statuses": "write"})

    def may(self, what: str) -> bool:
        return self.permissions.get(what) == "write"


class GitHubWire(Wire):
    """One repository, `team/models`, with pull request 7.

    Args:
        prefix: `/api/v3` for an Enterprise Server.
    """

    def __init__(self, certificate: Any = None, prefix: str = "") -> None:
        self.prefix = prefix
        self.tokens = {"ghs-workflow": Token("github-actions[bot]")}
        self.head = "a" * 40
        self.commits = {self.head}
        self.comments: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.graphql = True
        self._next = 1000
        super().__init__(certificate)
        self.api = f"{self.origin}{prefix}"

    def add(self, body: str, login: str = "github-actions[bot]", bot: bool = True) -> dict[str, Any]:
        """A comment that somebody wrote."""
        self._next += 1
        user = {"login": login, "id": len(login), "type": "Bot" if bot else "User"}
        page = f"https://github.example/team/models/pull/7#issuecomment-{self._next}"
        self.comments.append({"id": self._next, "body": body, "user": user, "html_url": page})
        return self.comments[-1]

    def handle(self, request: Request) -> Answer:
        if "user-agent" not in request.headers:
            return Answer(
                403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent"
            )
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        token = self.tokens.get(secret) if scheme.lower() in ("bearer", "token") else None
        if token is None:
            return _refused(401, "Bad credentials" if secret else "Requires authentication")
        if request.headers.get("x-github-api-version", "2022-11-28") != "2022-11-28":
            return _refused(400, "API version is not supported")
        graphql = f"{self.prefix.removesuffix('/v3')}/graphql"
        if str(request) == f"POST {graphql}":
            return self._viewer(request, token)
        path = request.path.removeprefix(self.prefix)
        path = path.replace("/repositories/42/", "/repos/team/models/")
        if not path.startswith("/repos/team/models/"):
            return _refused(404, "Not Found") if path.startswith("/repos/") else UNEXPECTED
        rest = f"{request.method} {path.removeprefix('/repos/team/models/')}"
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"GET issues/7/comments", self._list),
            (r"POST issues/7/comments", self._create),
            (r"PATCH issues/comments/(\d+)", self._update),
            (r"DELETE issues/comments/(\d+)", self._delete),
            (r"GET pulls/7", lambda request, token: Answer(200, {"number": 7, "head": {"sha": self.head}})),
            (r"POST statuses/([^/]+)", self._status),
            (r"(?:GET|POST) (?:pulls|issues)/\d+.*", lambda *_: _refused(404, "Not Found")),
        ]
        for pattern, work in routes:
            found = re.fullmatch(pattern, rest)
            if found:
                return work(request, token, *found.groups())
        return UNEXPECTED

    def _viewer(self, request: Request, token: Token) -> Answer:
        if not self.graphql or not re.fullmatch(r"query\s*\{\s*viewer\s*\{\s*login\s*\}\s*\}", request.body["query"]):
            return Answer(200, {"data": None, "errors": [{"message": "Resource not accessible by integration"}]})
        return Answer(200, {"data": {"viewer": {"login": token.login}}})

    def _list(self, request: Request, token: Token) -> Answer:
        size = min(100, whole_number(request.query.get("per_page", ""), 30))
        page = whole_number(request.query.get("page", ""), 1)
        shown = self.comments[(page - 1) * size : page * size]
        last = max(1, -(-len(self.comments) // size))
        # GitHub's own links name the repository by number.
        address = f"{self.api}/repositories/42/issues/7/comments?per_page={size}&page="
        links = [f'<{address}{page + 1}>; rel="next"', f'<{address}{last}>; rel="last"'] if page < last else []
        return Answer(200, shown, {"link": ", ".join(links)} if links else {})

    def _create(self, request: Request, token: Token) -> Answer:
        refused = self._wrong(request, token)
        if refused:
            return refused
        made = self.add(request.body["body"], token.login, token.bot)
        return Answer(201, made, {"location": f"{self.api}/repos/team/models/issues/comments/{made['id']}"})

    def _update(self, request: Request, token: Token, number: str) -> Answer:
        refused = self._wrong(request, token)
        if refused:
            return refused
        for comment in self.comments:
            if comment["id"] == int(number):
                comment["body"] = request.body["body"]
                return Answer(200, comment)
        return _refused(404, "Not Found")

    def _delete(self, request: Request, token: Token, number: str) -> Answer:
        if not token.may("pull_requests"):
            return _unaccessible("issues=write; pull_requests=write")
        left = [comment for comment in self.comments if comment["id"] != int(number)]
        if len(left) == len(self.comments):
            return _refused(404, "Not Found")
        self.comments = left
        return Answer(204)

    def _wrong(self, request: Request, token: Token) -> Answer | None:
        if not token.may("pull_requests"):
            return _unaccessible("issues=write; pull_requests=write")
        body = (request.body or {}).get("body")
        if not isinstance(body, str) or not body.strip():
            return _invalid("IssueComment", "body", "body can't be blank")
        if len(body) > LONGEST:
            return _invalid("IssueComment", "data", f"Body is too long (maximum is {LONGEST} characters)")
        return None

    def _status(self, request: Request, token: Token, sha: str) -> Answer:
        if not token.may("statuses"):
            return _unaccessible("statuses=write")
        told = request.body
        if sha not in self.commits:
            return _refused(422, f"No commit found for SHA: {sha}")
        if told.get("state") not in ("error", "failure", "pending", "success"):
            return _invalid("Status", "state", "state is not included in the list")
        if len(told.get("description") or "") > 140:
            return _invalid("Status", "description", "description is too long (maximum is 140 characters)")
        if not re.match(r"https?://", told.get("target_url") or "https://"):
            return _invalid("Status", "target_url", "target_url must use http(s) scheme")
        context = told.get("context", "default").lower()
        alike = [s for s in self.statuses if s["sha"] == sha and s["context"].lower() == context]
        if len(alike) >= MOST_STATUSES:
            return _invalid("Status", "", "This SHA and context has reached the maximum number of statuses.")
        self.statuses.append({"sha": sha, "context": "default", "target_url": None, **told})
        return Answer(201, self.statuses[-1])


def _refused(status: int, message: str) -> Answer:
    page = "https://docs.github.com/rest"
    return Answer(status, {"message": message, "documentation_url": page, "status": str(status)})


def _unaccessible(permissions: str) -> Answer:
    answer = _refused(403, "Resource not accessible by integration")
    return Answer(403, answer.body, {"x-accepted-github-permissions": permissions, "x-ratelimit-remaining": "4999"})


def _invalid(resource: str, field_: str, message: str) -> Answer:
    errors = [{"resource": resource, "code": "custom", "field": field_, "message": message}]
    return Answer(
        422, {"message": "Validation Failed", "errors": errors, "documentation_url": "https://docs.github.com"}
    )
