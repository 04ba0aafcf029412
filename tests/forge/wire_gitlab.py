"""GitLab at the wire: notes of merge requests, the current user, commit statuses.

Paths, codes and messages are those of GitLab's REST API v4; how a status moves on, of `Ci::CreateCommitStatusService`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tests.forge.wire import UNEXPECTED, Answer, Request, Wire, whole_number

LONGEST = 1_000_000
GUEST, REPORTER, DEVELOPER = 10, 20, 30


@dataclass
class Token:
    """Whose it is and what it may do."""

    user: int
    scope: str = "api"
    role: int = DEVELOPER


class GitLabWire(Wire):
    """One project, `group/models` with the number 42, and merge request 7."""

    def __init__(self, certificate: Any = None) -> None:
        self.tokens = {"glpat-bot": Token(17)}
        self.head = "a" * 40
        self.commits = {self.head}
        self.notes: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self._next = 300
        super().__init__(certificate)
        self.api = f"{self.origin}/api/v4"

    def add(self, body: str, user: int = 17, system: bool = False) -> dict[str, Any]:
        """A note that somebody wrote."""
        self._next += 1
        self.notes.append({"id": self._next, "body": body, "author": {"id": user}, "system": system})
        return self.notes[-1]

    def handle(self, request: Request) -> Answer:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        token = self.tokens.get(request.headers.get("private-token") or bearer)
        if token is None:
            return Answer(401, {"message": "401 Unauthorized"})
        if token.scope != "api" and not (token.scope == "read_api" and request.method == "GET"):
            told = "The request requires higher privileges than provided by the access token."
            return Answer(403, {"error": "insufficient_scope", "error_description": told, "scope": "api"})
        path = request.path.removeprefix("/api/v4/")
        if path == "user":
            return Answer(200, {"id": token.user, "username": f"project_42_bot_{token.user}", "bot": True})
        found = re.fullmatch(r"projects/([^/]+)/(.+)", path)
        if found is None or not request.path.startswith("/api/v4/"):
            return UNEXPECTED
        if unquote(found[1]) not in ("42", "group/models"):
            return Answer(404, {"message": "404 Project Not Found"})
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"GET merge_requests/7", lambda *_: Answer(200, {"iid": 7, "sha": self.head})),
            (r"GET merge_requests/7/notes", self._list),
            (r"POST merge_requests/7/notes", self._create),
            (r"PUT merge_requests/7/notes/(\d+)", self._update),
            (r"DELETE merge_requests/7/notes/(\d+)", self._delete),
            (r"POST statuses/([^/]+)", self._status),
            (r"\w+ merge_requests/\d+.*", lambda *_: Answer(404, {"message": "404 Not found"})),
        ]
        for pattern, work in routes:
            matched = re.fullmatch(pattern, f"{request.method} {found[2]}")
            if matched:
                return work(request, token, *matched.groups())
        return UNEXPECTED

    def _list(self, request: Request, token: Token) -> Answer:
        size = min(100, whole_number(request.query.get("per_page", ""), 20))
        page = whole_number(request.query.get("page", ""), 1)
        ordered = self.notes if request.query.get("sort") == "asc" else self.notes[::-1]
        shown = ordered[(page - 1) * size : page * size]
        following = str(page + 1) if page * size < len(ordered) else ""
        # Links name the address that the server has for itself, which need not be the one that it was asked at.
        link = f'<https://gitlab.example/api/v4/projects/42/merge_requests/7/notes?page={following}>; rel="next"'
        paging = {"x-page": str(page), "x-per-page": str(size), "x-next-page": following}
        return Answer(200, shown, {**paging, **({"link": link} if following else {})})

    def _create(self, request: Request, token: Token) -> Answer:
        wrong = _wrong(request)
        if wrong:
            return wrong
        if token.role < REPORTER:
            return Answer(403, {"message": "403 Forbidden"})
        return Answer(201, self.add(request.body["body"], token.user))

    def _update(self, request: Request, token: Token, number: str) -> Answer:
        wrong = _wrong(request)
        for note in self.notes:
            if note["id"] == int(number):
                if note["author"]["id"] != token.user:
                    return Answer(403, {"message": "403 Forbidden"})
                if wrong is None:
                    note["body"] = request.body["body"]
                return wrong or Answer(200, note)
        return Answer(404, {"message": "404 Note Not Found"})

    def _delete(self, request: Request, token: Token, number: str) -> Answer:
        for note in self.notes:
            if note["id"] == int(number):
                if note["author"]["id"] != token.user:
                    return Answer(403, {"message": "403 Forbidden"})
                self.notes.remove(note)
                return Answer(204)
        return Answer(404, {"message": "404 Note Not Found"})

    def _status(self, request: Request, token: Token, sha: str) -> Answer:
        if token.role < DEVELOPER:
            return Answer(403, {"message": "403 Forbidden"})
        told = request.body
        if sha not in self.commits:
            return Answer(404, {"message": "404 Commit Not Found"})
        if told.get("state") not in ("pending", "running", "success", "failed", "canceled", "skipped"):
            return Answer(400, {"error": "state does not have a valid value"})
        if len(told.get("description") or "") > 255:
            return Answer(400, {"message": {"description": ["is too long (maximum is 255 characters)"]}})
        name = told.get("name") or told.get("context") or "default"
        pipeline = str(told.get("pipeline_id", ""))
        if pipeline and pipeline != "900":
            return Answer(404, {"message": "404 Pipeline for pipeline_id, sha and ref Not Found"})
        open_ = [
            s for s in self.statuses if (s["sha"], s["name"]) == (sha, name) and s["status"] in ("pending", "running")
        ]
        if open_ and told["state"] in ("pending", "running"):
            event = "enqueue" if told["state"] == "pending" else "run"
            why = f'Status cannot transition via "{event}"'
            said = f"Cannot transition status via :{event} from :{open_[0]['status']} (Reason(s): {why})"
            return Answer(400, {"message": said})
        status = open_[0] if open_ else {"sha": sha, "name": name}
        status.update({"status": told["state"], "pipeline": pipeline, **told})
        if not open_:
            self.statuses.append(status)
        return Answer(201, status)


def _wrong(request: Request) -> Answer | None:
    body = (request.body or {}).get("body")
    if not isinstance(body, str) or not body:
        return Answer(400, {"error": "body is missing"})
    if len(body) > LONGEST:
        return Answer(400, {"message": {"note": [f"is too long (maximum is {LONGEST} characters)"]}})
    return None
