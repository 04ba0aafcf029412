"""Speaking HTTP to a forge: repeats and answers have bounds, and the token goes to one origin only."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import httpx

from reconciler.core.errors import ConflictError, InvalidError, TargetError, ThrottledError, UnavailableError
from reconciler.forge.refusals import Refusals

ATTEMPTS = 4
# How long one call may wait for its turn, all repeats together; what asks for more is left to whoever called.
PATIENCE_SECONDS = 60.0
_FIRST_PAUSE = 1.0
_LONGEST_ANSWER = 64 << 20
_REDIRECTS = 3
_MOST_PAGES = 1000


class Api:
    """One connection to a forge.

    Args:
        base: Of all addresses; nothing else gets the token.
        headers: Sent with every request; the token is in them.
        ca_file: Certificates to trust in place of the machine's own.
        attempts: How often one call is tried.

    Raises:
        InvalidError: The certificates cannot be read, or the address is none.
    """

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        refusals: Refusals,
        *,
        ca_file: str = "",
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base = base.rstrip("/")
        self._refusals = refusals
        self._attempts = attempts
        self._sleep = sleep
        self._origin = _origin(base)
        if self._origin[0] not in ("http", "https") or not self._origin[1]:
            raise self._no_address()
        self._client = httpx.Client(
            headers={"User-Agent": "reconciler", **headers},
            timeout=httpx.Timeout(30.0, connect=10.0),
            verify=_trusted(ca_file),
            follow_redirects=False,
        )

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        about: str,
        send: Any = None,
        query: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> Any:
        """The JSON of an answer of the 2xx kind; None if it is empty.

        Args:
            path: Below the base, or a whole address of the same origin.
            doing, about: As for `Refusals.of`.
            once: Not sent again where the first may have been carried out.

        Raises:
            AccessError, NotFoundError, ThrottledError, UnavailableError, ConflictError, TargetError: It was refused,
                and what may pass did not pass in time.
        """
        return self._json(self._patiently(method, path, doing, about, send, query, once), about)

    def pages(self, path: str, *, doing: str, about: str, query: Mapping[str, str]) -> Iterator[list[Any]]:
        """The pages of a list, by `X-Next-Page` where there is one, else by `Link: …; rel="next"` (RFC 8288)."""
        asked: Mapping[str, str] | None = query
        for _ in range(_MOST_PAGES):
            answer = self._patiently("GET", path, doing, about, None, asked, once=False)
            page = self._json(answer, about)
            if not isinstance(page, list):
                raise TargetError(f"{self._refusals.title} answered something else than a list for {about}")
            yield cast("list[Any]", page)
            number, following = answer.headers.get("x-next-page"), answer.links.get("next", {}).get("url", "")
            if number:
                asked = {**query, "page": number}
            elif number is None and following:
                path, asked = following, None
            else:
                return

    def _patiently(
        self,
        method: str,
        path: str,
        doing: str,
        about: str,
        send: Any,
        query: Mapping[str, str] | None,
        once: bool,
    ) -> httpx.Response:
        waited, attempt = 0.0, 0
        while True:
            attempt += 1
            try:
                return self._through_redirects(method, path, doing, about, send, query)
            except (ThrottledError, UnavailableError, ConflictError) as error:
                pause = error.retry_after if error.retry_after is not None else _FIRST_PAUSE * 2.0 ** (attempt - 1)
                waited += pause
                unsure = once and isinstance(error, UnavailableError)
                if unsure or attempt >= self._attempts or waited > PATIENCE_SECONDS:
                    raise
            self._sleep(pause)

    def _through_redirects(
        self, method: str, path: str, doing: str, about: str, send: Any, query: Mapping[str, str] | None
    ) -> httpx.Response:
        address = path if "://" in path else f"{self.base}/{path.lstrip('/')}"
        for _ in range(_REDIRECTS + 1):
            if _origin(address) != self._origin:
                raise TargetError(
                    f"{self._refusals.title} leads to {_plain(address)} for {about}; the token stays with {self.base}",
                    hint="name the address of the API itself: --api-url",
                )
            answer = self._exchange(method, address, send, query, about)
            if not answer.has_redirect_location:
                return self._judged(answer, doing, about)
            address, query = urljoin(address, answer.headers["location"]), None
            if "signin" in _plain(address).lower():
                raise self._refusals.sign_in(answer, doing, about)
        raise TargetError(f"{self._refusals.title} redirects in circles for {about}")

    def _exchange(
        self, method: str, address: str, send: Any, query: Mapping[str, str] | None, about: str
    ) -> httpx.Response:
        try:
            request = self._client.build_request(method, address, json=send, params=query)
            answer = self._client.send(request, stream=True)
            try:
                return _read(answer)
            finally:
                answer.close()
        except httpx.TransportError as error:
            what = self._refusals.scrubbed(str(error)) or type(error).__name__
            raise UnavailableError(
                f"{self._refusals.title} cannot be reached at {self.base} for {about}: {what}",
                hint="proxies are taken from HTTPS_PROXY and NO_PROXY, certificates from --ca-file or SSL_CERT_FILE",
            ) from error
        except httpx.InvalidURL as error:
            raise self._no_address() from error

    def _judged(self, answer: httpx.Response, doing: str, about: str) -> httpx.Response:
        if not answer.is_success:
            raise self._refusals.of(answer, doing, about)
        # Azure DevOps shows a page to sign in with status 203 to those whose token it does not take.
        if answer.status_code == 203 and "json" not in answer.headers.get("content-type", ""):
            raise self._refusals.sign_in(answer, doing, about)
        return answer

    def _json(self, answer: httpx.Response, about: str) -> Any:
        if not answer.content.strip():
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise TargetError(
                f"{self._refusals.title} answered something else than JSON for {about}",
                hint=f"is {self.base} the address of its API? See --api-url",
            ) from error

    def _no_address(self) -> InvalidError:
        return InvalidError(
            f"{self.base!r} is no address of {self._refusals.title}'s API",
            hint="it begins with https://; see --api-url and forge.apiUrl",
        )


def text_of(value: Any, *names: str) -> str:
    """What stands in nested JSON objects, as text; empty where there is nothing."""
    for name in names:
        value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
    return "" if value is None or isinstance(value, (dict, list)) else str(value)


def _origin(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ("", "")
    return (parts.scheme, parts.netloc)


def _plain(address: str) -> str:
    """An address without its query, which may hold a signature."""
    return address.split("?", 1)[0]


def _read(answer: httpx.Response) -> httpx.Response:
    """The whole answer, if it is not too large."""
    content = bytearray()
    for block in answer.iter_bytes():
        content += block
        if len(content) > _LONGEST_ANSWER:
            raise httpx.ReadError(f"the answer has more than {_LONGEST_ANSWER >> 20} MiB")
    headers = [(k, v) for k, v in answer.headers.multi_items() if k.lower() != "content-encoding"]
    return httpx.Response(answer.status_code, headers=headers, content=bytes(content), request=answer.request)


def _trusted(ca_file: str) -> ssl.SSLContext | bool:
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise InvalidError(
            f"the certificates in {ca_file} cannot be read: {error.strerror or error}", hint="a file in PEM form"
        ) from error
