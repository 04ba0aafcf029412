"""Getting a snapshot from a file, from standard input or from an address: bounded in size and in time."""

from __future__ import annotations

import ipaddress
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import urljoin, urlsplit

from reconciler.core.errors import AccessError, InvalidError, RefusedError, UnavailableError

MAX_BYTES = 128 << 20
SECONDS = 30.0
_REDIRECTS = 5


def fetch(location: str, *, plain_http: bool = False, limit: int = MAX_BYTES, seconds: float = SECONDS) -> bytes:
    """The bytes at a path, at an address, or (`-`) of standard input.

    Args:
        plain_http: Take http:// from other machines too; https is always verified.
        limit: Bytes.
        seconds: For the whole transfer.

    Raises:
        InvalidError: It is too large, not there, or cannot be read.
        RefusedError: The address, or one it leads to, is not https; https that leads to http never is.
        UnavailableError: It does not answer in time. AccessError: It refuses.
    """
    if "://" in location:
        return _from_address(location, plain_http, limit, seconds)
    try:
        if location == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(location).expanduser().open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise InvalidError(
            f"the snapshot {location} cannot be read: {error.strerror}",
            hint="give a file that `reconciler snapshot --out FILE` wrote, or the address of a daemon's /snapshot",
        ) from error
    return _bounded(data, location, limit)


def _bounded(data: bytes, location: str, limit: int) -> bytes:
    if len(data) > limit:
        raise InvalidError(
            f"the snapshot {masked(location)} has more than {limit:,} bytes", hint="see that the address is right"
        )
    return data


def masked(location: str) -> str:
    """An address without credentials and query, for messages."""
    if "://" not in location:
        return location
    head, _, rest = location.partition("://")
    host = rest.partition("?")[0].partition("#")[0]
    user, at, _ = host.partition("/")[0].rpartition("@")
    return f"{head}://{'***@' + host[len(user) + 1 :] if at else host}"


def _from_address(location: str, plain_http: bool, limit: int, seconds: float) -> bytes:
    """Fetches in a thread that is left behind when the time is over: no name service and no drip holds up longer."""
    answers: SimpleQueue[bytes | Exception] = SimpleQueue()
    late = threading.Event()

    def work() -> None:
        try:
            answers.put(_get(location, plain_http, limit, seconds, late))
        except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
            answers.put(error)

    threading.Thread(target=work, name="snapshot", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty:
        raise _silent(location, f"no whole answer within {seconds:g} s") from None
    finally:
        late.set()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _get(location: str, plain_http: bool, limit: int, seconds: float, late: threading.Event) -> bytes:
    import httpx

    headers = {"Accept-Encoding": "identity", "User-Agent": "reconciler", "Accept": "application/json"}
    try:
        with httpx.Client(timeout=seconds, headers=headers, trust_env=True) as client:
            address = location
            for _ in range(_REDIRECTS + 1):
                _allowed(address, plain_http)
                with client.stream("GET", address) as answer:
                    if answer.has_redirect_location:
                        address = _onwards(address, answer.headers["location"])
                        continue
                    _good(answer.status_code, location)
                    data = bytearray()
                    for block in answer.iter_raw():
                        data += block
                        if len(data) > limit or late.is_set():
                            break
                    return _bounded(bytes(data), location, limit)
            raise InvalidError(
                f"the snapshot {masked(location)} redirects too often", hint="see that the address is right"
            )
    except httpx.TimeoutException as error:
        raise _silent(location, f"no answer within {seconds:g} s") from error
    except (httpx.TransportError, httpx.StreamError) as error:
        raise _silent(location, str(error) or type(error).__name__) from error
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidError(
            f"{masked(location)} is not an address: {error}", hint="give an https address or a file"
        ) from error


def _onwards(address: str, to: str) -> str:
    onwards = urljoin(address, to)
    if address.lower().startswith("https:") and onwards.lower().startswith("http:"):
        raise RefusedError(
            f"{masked(address)} redirects from https to {masked(onwards)}",
            hint="give the address that it is to be fetched from in the end",
        )
    return onwards


def _silent(location: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"the snapshot {masked(location)} cannot be fetched: {why}",
        hint="check that the daemon runs and the address is right; without it, `plan --base REF` compares two commits",
    )


def _good(status: int, location: str) -> None:
    if status in (401, 403, 407):
        raise AccessError(
            f"the snapshot {masked(location)} is refused ({status})",
            hint="a daemon asks for no credentials, so something before it does: https://USER:PASSWORD@… gives them",
        )
    if status == 503:
        raise _silent(location, "the daemon has not seen all of its targets yet (503)")
    if status >= 500:
        raise _silent(location, f"it answers with {status}")
    if status != 200:
        raise InvalidError(
            f"there is no snapshot at {masked(location)} ({status})", hint="a daemon has it at /snapshot"
        )


def _allowed(address: str, plain_http: bool) -> None:
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and host and (plain_http or _loopback(host)):
        return
    if parts.scheme == "http" and host:
        raise RefusedError(
            f"{masked(address)} is not https: anybody on the way could answer with an old snapshot",
            hint="use https, or say --allow-http",
        )
    raise InvalidError(f"{masked(address)} is no address of a snapshot", hint="give an https address or a file")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
