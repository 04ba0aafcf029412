"""Fetching over HTTP: streamed, continued after a broken connection, within limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urljoin

import httpx

from reconciler.artifacts.models.content import Writer
from reconciler.artifacts.models.settings import ModelSettings
from reconciler.core.errors import AccessError, TargetError, TerminalError, ThrottledError, UnavailableError

_REDIRECTS = 5
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "reconciler"}


class Http:
    """One client for all transfers.

    Args:
        sleep: Waits that many seconds between attempts.
    """

    def __init__(self, settings: ModelSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings = settings
        self._sleep = sleep
        timeout = httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout)
        self._client = httpx.Client(timeout=timeout, headers=_HEADERS, follow_redirects=False, trust_env=True)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def fetch(self, uri: str, writer: Writer, room: Callable[[int], None]) -> dict[str, Any]:
        """Streams a resource into a writer; what the server said of it.

        Raises:
            TerminalError: It is not there, too large, or redirected to where it may not be fetched from.
            AccessError, ThrottledError, UnavailableError: The server refuses, or breaks off too often.
        """
        origin: dict[str, Any] = {}
        problem = ""
        for attempt in range(1, self._settings.attempts + 1):
            before = writer.size
            try:
                if self._once(uri, writer, room, origin):
                    return origin
                problem = f"it broke off after {writer.size:,} bytes"
            except (httpx.TransportError, httpx.StreamError) as error:
                problem = str(error) or type(error).__name__
            if writer.size == before and attempt > 1:
                break
            self._sleep(min(0.2 * 2**attempt, 5.0))
        raise UnavailableError(f"{uri} cannot be fetched: {problem}")

    def head(self, uri: str) -> dict[str, Any]:
        """What the server says of a resource without sending it: `etag`, `lastModified`, `size`.

        Raises:
            TargetError: It does not say.
        """
        try:
            with self._open("HEAD", uri, {}) as answer:
                return _origin(answer)
        except (httpx.TransportError, httpx.StreamError) as error:
            raise UnavailableError(f"{uri} does not answer: {error or type(error).__name__}") from error

    def _once(self, uri: str, writer: Writer, room: Callable[[int], None], origin: dict[str, Any]) -> bool:
        headers: dict[str, str] = {}
        if writer.size and (mark := origin.get("etag") or origin.get("lastModified")):
            # RFC 9110 §13.1.5: the range counts only if the resource is still the same one; weak etags do not.
            headers = {"Range": f"bytes={writer.size}-", "If-Range": str(mark)}
        with self._open("GET", uri, headers) as answer:
            continues = answer.status_code == 206 and answer.headers.get("content-range", "").startswith(
                f"bytes {writer.size}-"
            )
            if not continues:
                if answer.status_code == 206:
                    raise UnavailableError(f"{uri}: the server continues at another place than asked for")
                writer.restart()
                origin.clear()
                origin.update(_origin(answer))
            length = answer.headers.get("content-length", "")
            expected = writer.size + int(length) if length.isdigit() else None
            if expected is not None:
                room(expected - writer.size if continues else expected)
            for block in answer.iter_raw():
                writer.write(block)
            return expected is None or writer.size >= expected

    def _open(self, method: str, uri: str, headers: Mapping[str, str]) -> _Answer:
        at = uri
        for _ in range(_REDIRECTS):
            if not any(at.startswith(prefix) for prefix in self._settings.uri_prefixes):
                raise TerminalError(
                    f"{uri} redirects to {_plain(at)}, from where this installation may not fetch models",
                    hint="the operator's settings say which addresses are allowed",
                )
            try:
                request = self._client.build_request(method, at, headers=dict(headers))
            except (httpx.InvalidURL, ValueError) as error:
                raise TerminalError(f"{uri} is not a URL: {error}") from error
            answer = self._client.send(request, stream=True)
            if answer.has_redirect_location:
                answer.close()
                at = urljoin(at, answer.headers["location"])
                continue
            if answer.status_code in (200, 206):
                return _Answer(answer)
            answer.close()
            raise _refusal(uri, answer)
        raise TerminalError(f"{uri} redirects more than {_REDIRECTS} times")


class _Answer:
    """A response that is closed at the end of its block."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __enter__(self) -> httpx.Response:
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()


def _origin(answer: httpx.Response) -> dict[str, Any]:
    origin: dict[str, Any] = {}
    if etag := answer.headers.get("etag"):
        origin["etag"] = etag
    if modified := answer.headers.get("last-modified"):
        origin["lastModified"] = modified
    length = answer.headers.get("content-length", "")
    if length.isdigit() and answer.status_code == 200:
        origin["size"] = int(length)
    return origin


def _refusal(uri: str, answer: httpx.Response) -> TargetError:
    status = answer.status_code
    said = f"{uri} answered {status} {answer.reason_phrase}".rstrip()
    if status in (401, 403):
        return AccessError(said, hint="the address must be readable without credentials, or allowed by the operator")
    if status == 429:
        after = answer.headers.get("retry-after", "")
        return ThrottledError(said, retry_after=float(after) if after.isdigit() else None)
    if status >= 500 or status == 408:
        return UnavailableError(said)
    return TerminalError(said, hint="check the uri in the manifest")


def _plain(uri: str) -> str:
    """A redirect's address without its query, which often holds a signature."""
    return uri.split("?", 1)[0]
