"""What the API refuses, as errors of the driver contract. The one place that knows its status codes and words.

Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/ and answers of a 1.36 API server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from reconciler.core.errors import (
    AccessError,
    BusyError,
    ConflictError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)

_FORBIDDEN = re.compile(
    r'User "(?P<who>[^"]+)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'( in the namespace "(?P<namespace>[^"]+)")?'
)
_QUOTA = re.compile(r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>[^,]+)")
_WEBHOOK = re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request')
_UNKNOWN_FIELD = re.compile(r"field not declared in schema|unknown field|failed to create typed patch object")
_MOST_WORDS = 600
# The hint where nothing answers.
REACH = "`kubectl cluster-info` with the same kubeconfig and context says more"


class Status(Exception):
    """An answer that is none: its code and reason, without the words that may hold what was sent."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"HTTP {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class MissingError(ConflictError):
    """404: the object is not there."""


class UnknownKindError(TerminalError):
    """404 from outside of the API: it does not know such objects."""


class ManagerConflictError(ConflictError):
    """Another manager has fields that were to be written.

    Args:
        fields: In the API's own spelling.
    """

    def __init__(self, message: str, fields: tuple[str, ...]) -> None:
        super().__init__(message, hint="adopt the object, or leave the fields to others")
        self.fields = fields


class ExpiredError(UnavailableError):
    """410: the listing or watch has to begin anew."""


def refusal(
    code: int, body: Mapping[str, Any], what: str, *, retry_after: float | None = None, hidden: bool = False
) -> TargetError:
    """The error that an answer stands for; its cause holds the code.

    Args:
        body: The `Status` object.
        what: What was asked for, in words ("writing Deployment ml:diabetes").
        retry_after: Seconds that the API asked to wait.
        hidden: Secrets were sent: the API's words are left out, since they may hold them.
    """
    error = _refusal(code, body, what, retry_after, hidden=hidden)
    error.__cause__ = Status(code, str(body.get("reason") or ""))
    return error


def _refusal(code: int, body: Mapping[str, Any], what: str, wait: float | None, *, hidden: bool) -> TargetError:
    said = str(body.get("message") or f"HTTP {code}")[:_MOST_WORDS]
    reason = str(body.get("reason") or "")
    details = cast("Mapping[str, Any]", body.get("details") or {})
    causes = cast("list[Mapping[str, Any]]", details.get("causes") or [])
    if hidden and (denied := _WEBHOOK.search(said)):
        # Whose it is; what it says of the object it was shown is its own affair.
        said = denied[0]
    elif hidden and code in (400, 422, 500):
        fields = ", ".join(str(cause.get("field")) for cause in causes if cause.get("field"))
        said = f"{reason or 'not accepted'}{f': {fields}' if fields else ''}"
    message = f"{what}: {said}"
    match code:
        case 401:
            return AccessError(message, hint="the kubeconfig's credentials are missing, wrong or expired")
        case 403:
            return _forbidden(said, message)
        case 404:
            if body.get("kind") != "Status":
                hint = "what brings them has to be installed in it (KEDA for a ScaledObject)"
                return UnknownKindError(f"{what}: the cluster does not know such objects", hint=hint)
            if details.get("kind") == "namespaces":
                name = details.get("name")
                return TerminalError(
                    f"{what}: there is no namespace '{name}'", hint=f"kubectl create namespace {name}, or name another"
                )
            return MissingError(message, hint="it is looked for again")
        case 409:
            if any(cause.get("reason") == "FieldManagerConflict" for cause in causes):
                return ManagerConflictError(message, tuple(str(cause.get("field")) for cause in causes))
            return ConflictError(message, hint="it is looked for again")
        case 410:
            return ExpiredError(message, hint="it is listed again")
        case 412:
            return ConflictError(message, hint="it is looked for again")
        case 429:
            return ThrottledError(message, hint="fewer requests are sent", retry_after=wait if wait else 1.0)
        case 400 | 405 | 406 | 413 | 415 | 422:
            return _invalid(said, message)
        case _:
            if _UNKNOWN_FIELD.search(str(body.get("message") or "")):
                return TerminalError(message, hint="this cluster's version does not know the field")
            return UnavailableError(message, hint="the API server or something behind it is failing", retry_after=wait)


def _forbidden(said: str, message: str) -> TargetError:
    if found := _QUOTA.search(said):
        return TerminalError(message, hint=f"ask for less, or raise the quota '{found['quota']}'")
    if found := _FORBIDDEN.search(said):
        kind = f"{found['resource']}.{found['group']}" if found["group"] else found["resource"]
        where = f" --namespace {found['namespace']}" if found["namespace"] else ""
        return AccessError(message, hint=f"{found['who']} needs the verb '{found['verb']}' on {kind}{where}")
    if "is being terminated" in said:
        return BusyError(message, hint="the namespace is going away", retry_after=5.0)
    if _WEBHOOK.search(said) or "violates" in said:
        return _invalid(said, message)
    return AccessError(message, hint="a role that allows it has to be bound to the kubeconfig's user")


def _invalid(said: str, message: str) -> TargetError:
    if found := _WEBHOOK.search(said):
        return TerminalError(message, hint=f"the cluster's policy '{found['name']}' refuses it")
    if "field is immutable" in said:
        return TerminalError(message, hint="the field cannot change: delete the object, or take the change back")
    return TerminalError(message, hint="the manifest asks for what this cluster does not take")
