"""What the SDK of Azure raised, as one of our errors. Only the service's words are told: the SDK's hold requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


class MissingError(TerminalError):
    """There is nothing of that name.

    Args:
        missing: The service's code for what there is none of.
    """

    def __init__(self, message: str, *, hint: str = "", missing: str = "") -> None:
        super().__init__(message, hint=hint)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Hints:
    """What helps against a refusal.

    Args:
        role: What the identity needs. missing: What to check where a name leads nowhere. reach: What to check where
            nobody answers.
        codes: What helps against just that, by the service's code. otherwise: What there is to say of all others.
    """

    role: str
    missing: str
    reach: str = "check the network and, for a certificate of your own, azure.caFile"
    codes: Mapping[str, str] = field(default_factory=dict[str, str])
    otherwise: str = ""


def refusal(error: Exception, who: str, what: str, hints: Hints) -> TargetError:
    """The error of the class that says how to go on.

    Args:
        error: An `AzureError`.
        who: Who was asked. what: What for.

    Source: azure-core, "Azure Core shared client library: exceptions"; the codes are those of Azure Resource Manager
    ("Resolve common Azure deployment errors").
    """
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) if isinstance(error, HttpResponseError) else None
    if isinstance(error, ClientAuthenticationError) and (response is None or status is None):
        hint = "check azure.credential and its settings"
        return AccessError(f"{what}: no token can be had from Microsoft Entra ID", hint=hint)
    if status is None:
        return UnavailableError(f"{what}: {who} cannot be reached: {reason(error)}", hint=hints.reach)
    code, told = _words(error)
    message = f"{what}: {who} says {status}" + (f" {code}" if code else "") + (f": {told}" if told else "")
    known = hints.codes.get(code, "")
    if status in (401, 403):
        return AccessError(message, hint=known or hints.role)
    if status == 404:
        return MissingError(message, hint=known or hints.missing, missing=code)
    hint = known or hints.otherwise
    if status == 429:
        return ThrottledError(message, hint=hint, retry_after=_retry_after(response))
    if status >= 500 or status == 408:
        return UnavailableError(message, hint=hint)
    if status == 412:
        return ConflictError(message, hint=hint)
    if status == 409 and "in progress" in told.lower():
        return BusyError(message, hint=hint)
    return TerminalError(message, hint=hint)


def reason(error: BaseException) -> str:
    """The innermost reason of an error of the network, without addresses."""
    inner: BaseException = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = cast("BaseException", inner.__cause__ or inner.__context__)
    return ((inner.strerror if isinstance(inner, OSError) else "") or type(inner).__name__)[:200]


def _words(error: Any) -> tuple[str, str]:
    inner = getattr(error, "error", None)
    code, message = getattr(inner, "code", None), getattr(inner, "message", None)
    return str(code or "")[:80], str(message or "")[:300]


def _retry_after(response: Any) -> float:
    try:
        return float(response.headers.get("Retry-After") or 10.0)
    except (AttributeError, ValueError):
        return 10.0
