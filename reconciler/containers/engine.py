"""A container engine, spoken to through the docker package; what it refuses becomes an error of the driver contract."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from reconciler.containers.place import DEFAULT, EnginePlace
from reconciler.core.errors import (
    AccessError,
    BusyError,
    ConflictError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.packages import importing

if TYPE_CHECKING:
    from docker import APIClient

TIMEOUT_SECONDS = 60
_CONNECTIONS = 16
# The oldest API with everything used here; engines since 20.10 have it.
OLDEST_API = "1.41"

_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|bind for .* failed", re.IGNORECASE)
_NO_SPACE = re.compile(r"no space left on device", re.IGNORECASE)


class MissingError(TargetError):
    """The engine does not have what was named: mostly fine, since it was to go, or is to be made."""


class PortTakenError(TerminalError):
    """Another program, or another container, holds the port that was to be published."""


class Engine:
    """One engine. Safe to use from many threads: a request takes a connection of its own from the pool.

    Args:
        place: Where it answers.
    """

    def __init__(self, place: EnginePlace) -> None:
        self.place = place
        self._client: APIClient | None = None
        self._lock = threading.Lock()

    @property
    def api(self) -> Any:
        """The `docker.APIClient`, whose methods are not typed; `calls` maps what they raise."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> APIClient:
        try:
            with importing():
                from docker import APIClient
                from docker.errors import DockerException

                from reconciler.containers.ssh import SshConnection, ssh_command
                from reconciler.containers.transport import Adapter, UnixSocket
        except ImportError as error:
            raise TerminalError("containers need the package `docker`", hint="install `reconciler[docker]`") from error
        options: dict[str, Any] = {"version": OLDEST_API, "timeout": TIMEOUT_SECONDS, "max_pool_size": _CONNECTIONS}
        scheme, _, rest = self.place.url.partition("://")
        try:
            with self.calls("connecting"):
                if scheme == "tcp":
                    return self._by_tcp(options)
                dial = (
                    partial(SshConnection, ssh_command(self.place.url))
                    if scheme == "ssh"
                    else partial(UnixSocket, rest)
                )
                client = APIClient(DEFAULT, **options)
                client.mount("http+docker://", Adapter(dial, TIMEOUT_SECONDS, _CONNECTIONS))
                # No proxy stands before a socket; looking for one takes a third of every request's time.
                client.trust_env = False
                return client
        except DockerException as error:
            raise UnavailableError(f"{self}: {_words(error)}", hint=_REACH) from error

    def _by_tcp(self, options: Mapping[str, Any]) -> APIClient:
        from docker import APIClient
        from docker.tls import TLSConfig

        if not self.place.tls:
            return APIClient(self.place.url, **options)
        ca, certificate, key = _tls_files(Path(self.place.tls))
        tls = TLSConfig(client_cert=(certificate, key), ca_cert=ca, verify=True)
        client = APIClient(self.place.url, tls=tls, **options)
        # Else REQUESTS_CA_BUNDLE would be trusted in the place of the engine's own authority.
        client.trust_env = False
        return client

    def __str__(self) -> str:
        return f"container engine at {self.place.url}"

    @contextmanager
    def calls(self, what: str) -> Generator[None]:
        """Turns what the docker package raises inside into the contract's errors.

        Args:
            what: What is being done, for the message.

        Raises:
            MissingError: 404. TargetError: Of the class that says how to go on.
        """
        with importing():
            from docker.errors import APIError, DockerException
            from requests.exceptions import RequestException
            from urllib3.exceptions import HTTPError

        try:
            yield
        except APIError as error:
            raise _of(error, what) from error
        except (RequestException, HTTPError, DockerException, OSError) as error:
            raise UnavailableError(f"{self} does not answer: {_words(error)}", hint=_REACH) from error

    def version(self) -> str:
        """The engine's own version.

        Raises:
            UnavailableError: It does not answer.
        """
        with self.calls("asking for its version"):
            return str(self.api.version(api_version=False)["Version"])

    def containers(self, label: str) -> list[str]:
        """Ids of all containers, running or not, with a label (`key` or `key=value`)."""
        with self.calls("listing containers"):
            found = self.api.containers(all=True, filters={"label": label})
        return [str(item["Id"]) for item in found]

    def inspect(self, container: str) -> Mapping[str, Any] | None:
        """A container in full, by id or name; None if there is none."""
        try:
            with self.calls(f"inspecting {container[:40]}"):
                return cast("Mapping[str, Any]", self.api.inspect_container(container))
        except MissingError:
            return None

    def now(self) -> float:
        """The engine's own clock, Unix seconds: it may be on another machine."""
        with self.calls("asking for its time"):
            return datetime.fromisoformat(str(self.api.info()["SystemTime"])).timestamp()

    def last(self, container: str, event: str) -> float | None:
        """When the engine last told of an event of a container, Unix seconds; None if it does not remember any more.

        It keeps its last 256 events, and none beyond a restart of its own.
        Source: https://docs.docker.com/reference/api/engine/version/v1.41/#operation/SystemEvents.
        """
        filters = {"type": ["container"], "container": [container], "event": [event]}
        with self.calls("asking for past events"):
            # A moment that its clock has not reached yet would be waited for.
            found = cast(
                "list[Mapping[str, Any]]", [*self.api.events(since=1, until=self.now(), filters=filters, decode=True)]
            )
        return max((int(one["timeNano"]) / 1e9 for one in found), default=None)

    def image(self, reference: str) -> Mapping[str, Any] | None:
        """An image that the engine has, by reference or id; None if it has none."""
        try:
            with self.calls(f"inspecting image {reference}"):
                return cast("Mapping[str, Any]", self.api.inspect_image(reference))
        except MissingError:
            return None

    def images(self, label: str, *, dangling: bool = False) -> list[Mapping[str, Any]]:
        """All images with a label, as listed; only those without a name if `dangling`."""
        filters: dict[str, Any] = {"label": label, **({"dangling": True} if dangling else {})}
        with self.calls("listing images"):
            return list(self.api.images(filters=filters))

    def pull(self, reference: str, credentials: Mapping[str, str] | None = None, platform: str = "") -> None:
        """Fetches an image, for another architecture than the engine's own if that is named.

        Raises:
            TerminalError: The registry does not have it. AccessError: It wants (other) credentials.
        """
        repository, _, tag = split_reference(reference)
        with self.calls(f"pulling {reference}"):
            lines = self.api.pull(
                repository,
                tag or "latest",
                stream=True,
                decode=True,
                auth_config=credentials or {},
                platform=platform or None,
            )
            for line in cast("Iterator[Mapping[str, Any]]", lines):
                if "error" in line:
                    raise said(str(line["error"]), f"pulling {reference}")

    def remove(self, container: str, *, force: bool = True) -> None:
        """Removes a container; one that is gone is fine."""
        try:
            with self.calls(f"removing {container[:40]}"):
                self.api.remove_container(container, v=True, force=force)
        except MissingError:
            return
        except ConflictError as error:
            raise BusyError(error.message, retry_after=0.2) from error

    def put(self, container: str, folder: str, archive: bytes | IO[bytes]) -> None:
        """Unpacks a tar archive into a folder of a container."""
        with self.calls(f"writing to {folder}"):
            self.api.put_archive(container, folder, archive)

    def close(self) -> None:
        """Ends all connections; used again, it connects anew."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


def _tls_files(folder: Path) -> list[str]:
    """The files that the docker command, too, wants there: authority, certificate, key.

    Raises:
        TerminalError: One is missing.
    """
    files = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        hint = "put ca.pem, cert.pem and key.pem there, or take out `dockerTlsDir`"
        raise TerminalError(f"the folder {folder} for TLS has no {', no '.join(missing)}", hint=hint)
    return [str(file) for file in files]


_REACH = "start it, or say where it is: the target's `dockerHost` or `dockerContext`, or DOCKER_HOST"


def split_reference(reference: str) -> tuple[str, str, str]:
    """Repository, separator and tag (or digest) of an image's name; `:` of a port is not one.

    Source: https://github.com/distribution/reference (grammar of references).
    """
    if "@" in reference:
        return reference.partition("@")
    head, slash, last = reference.rpartition("/")
    name, separator, tag = last.partition(":")
    return f"{head}{slash}{name}", separator, tag


def said(text: str, what: str) -> TargetError:
    """The error that a line of a build's, push's or pull's stream stands for."""
    lowered = text.lower()
    message = f"{what}: {text.strip()}"
    if _NO_SPACE.search(text):
        return UnavailableError(message, hint="free some space on the engine's disk")
    if "toomanyrequests" in lowered or "rate limit" in lowered:
        return ThrottledError(message, retry_after=60.0)
    if any(word in lowered for word in ("unauthorized", "denied", "authentication required", "no basic auth")):
        return AccessError(message, hint="check the registry's credentials")
    if any(word in lowered for word in ("timeout", "connection refused", "no such host", "eof", "connection reset")):
        return UnavailableError(message)
    # A layer that this build found in the cache was taken away by somebody else before it was used.
    if "no such image: sha256:" in lowered:
        return UnavailableError(message)
    return TerminalError(message)


def _of(error: Any, what: str) -> TargetError:
    status = int(error.status_code or 500)
    text = str(error.explanation or error).strip()
    message = f"{what}: {text}"
    if _PORT_TAKEN.search(text):
        return PortTakenError(message, hint="stop what holds it, or set another `port` in the service's deployment")
    if _NO_SPACE.search(text):
        return UnavailableError(message, hint="free some space on the engine's disk")
    match status:
        case 401 | 403:
            return AccessError(message, hint="the engine or the registry wants other credentials")
        case 404:
            return MissingError(message)
        case 409:
            return ConflictError(message)
        case 429:
            return ThrottledError(message, retry_after=10.0)
        case 400:
            return TerminalError(message)
        case _:
            return said(text, what) if status == 500 else UnavailableError(message)


def _words(error: BaseException) -> str:
    """The innermost reason, without the addresses of objects that some messages hold."""
    inner: BaseException = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = cast("BaseException", inner.__cause__ or inner.__context__)
    return (inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)) or type(inner).__name__
