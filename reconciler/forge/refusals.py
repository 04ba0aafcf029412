"""What a forge's refusal means: one place turns statuses, headers and messages into errors that say how to go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import AccessError, ConflictError, TargetError, ThrottledError, UnavailableError

# GitHub, "Rate limits for the REST API": without any header, a secondary limit wants a minute.
_SECONDARY_SECONDS = 60.0
_LONGEST_SAID = 300


class NotFoundError(TargetError):
    """The forge has no such thing, or does not let the token see it."""

    code = "not-found"


@dataclass(frozen=True, slots=True)
class Refusals:
    """Reads refusals of one forge.

    Args:
        title: The forge's name in sentences.
        token: Whatever a forge answers, no message repeats it.
        needs: What a token must be allowed, by what was tried: `comment`, `status`, `read`.
        now: Unix time in seconds, for those who name a time to come back at.
    """

    title: str
    token: str
    needs: Mapping[str, str]
    now: Callable[[], float]

    def of(self, answer: httpx.Response, doing: str, about: str) -> TargetError:
        """The error that an answer of the 4xx or 5xx kind means.

        Args:
            doing: A key of `needs`.
            about: What it was about: `the comments of pull request 7 of team/models`.
        """
        status, said, after = answer.status_code, self._said(answer), self._retry_after(answer)
        what = f"{self.title} answered {status} for {about}" + (f": {said}" if said else "")
        if status == 403 and after is None and "secondary rate limit" in said:
            after = _SECONDARY_SECONDS
        match status:
            case 401:
                return AccessError(what, hint=f"the token is wrong or has expired; {self.needs[doing]}")
            case 429:
                return ThrottledError(what, hint="run it again later", retry_after=after)
            case 403 if after is not None:
                return ThrottledError(what, hint="run it again later", retry_after=after)
            case 403:
                accepted = answer.headers.get("x-accepted-github-permissions", "")
                return AccessError(what, hint=self.needs[doing] + (f" ({accepted})" if accepted else ""))
            case 404 | 410:
                return NotFoundError(what, hint=f"check the names; the token may also not see it: {self.needs[doing]}")
            case 409:
                return ConflictError(what, hint="run it again", retry_after=after)
            case 408:
                return UnavailableError(what, hint="run it again later", retry_after=after)
            case _ if status >= 500:
                return UnavailableError(what, hint="run it again later", retry_after=after)
            case _:
                return TargetError(what)

    def sign_in(self, answer: httpx.Response, doing: str, about: str) -> AccessError:
        """Of a page to sign in, which some show in place of a refusal."""
        return AccessError(
            f"{self.title} answered {answer.status_code} with a page to sign in for {about}, not taking the token",
            hint=f"the token is wrong or has expired; {self.needs[doing]}",
        )

    def scrubbed(self, text: str) -> str:
        """Text without the token."""
        return text.replace(self.token, "***") if self.token else text

    def _retry_after(self, answer: httpx.Response) -> float | None:
        """Seconds to wait as asked (RFC 9110 §10.2.3, and GitHub's `x-ratelimit-reset`); None if nothing is asked."""
        given = answer.headers.get("retry-after", "").strip()
        if re.fullmatch(r"\d{1,9}", given):
            return float(given)
        if given:
            try:
                return max(0.0, parsedate_to_datetime(given).timestamp() - self.now())
            except ValueError:
                return None
        reset = answer.headers.get("x-ratelimit-reset", "")
        if answer.headers.get("x-ratelimit-remaining") == "0" and re.fullmatch(r"\d{1,12}", reset):
            return max(0.0, float(reset) - self.now())
        return None

    def _said(self, answer: httpx.Response) -> str:
        """The forge's own reason on one line."""
        try:
            told = answer.json()
        except ValueError:
            return ""
        text = self.scrubbed(" ".join(" ".join(_words(told)).split()))
        return text if len(text) <= _LONGEST_SAID else f"{text[: _LONGEST_SAID - 1]}…"


def _words(told: Any) -> Iterator[str]:
    """Texts in an error's JSON: GitHub has `message` and `errors`, GitLab `message` of any shape or `error`."""
    match told:
        case str():
            yield told
        case list():
            for item in cast("list[Any]", told):
                yield from _words(item)
        case dict():
            found = cast("dict[str, Any]", told)
            named = [found[name] for name in ("message", "error", "error_description", "errors") if name in found]
            for value in named or found.values():
                yield from _words(value)
        case _:
            return
