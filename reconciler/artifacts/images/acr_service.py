"""Azure Container Registry, spoken to through the SDK; the one place where images import it, when it is first needed.

Runs are those of "Quick tasks" (Microsoft.ContainerRegistry/registries/scheduleRun, api-version of
azure-mgmt-containerregistrytasks): source is put to the address that listBuildSourceUploadUrl gives, the log is an
append blob behind the address that listLogSasUrl gives. Manifests and tags are read through azure-containerregistry.
The SDK never waits or retries here: its pauses could not be cut short.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx

from reconciler.artifacts.environments.uv import Stopped
from reconciler.artifacts.images.builder import Credentials, Standing
from reconciler.azure.refusals import Hints, MissingError, reason, refusal
from reconciler.core.errors import (
    AccessError,
    InvalidError,
    TerminalError,
    UnavailableError,
)
from reconciler.core.packages import importing

if TYPE_CHECKING:
    from azure.containerregistry import ContainerRegistryClient
    from azure.core.credentials import TokenCredential
    from azure.mgmt.containerregistrytasks import ContainerRegistryTasksMgmtClient

# The version of the storage service that takes blobs of more than 256 MB in one piece ("Put Blob").
_BLOB = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-08-06"}
_TIMEOUT = 60.0
# The user name that says that the password is a token.
_USER = "00000000-0000-0000-0000-000000000000"
_CHUNK = 1024 * 1024
_MANIFESTS = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")
_HINTS = Hints(
    role="the identity needs the role Contributor at the registry (scheduleRun, listBuildSourceUploadUrl), or AcrPush",
    missing="check images.acr: registry, resourceGroup and subscription",
    reach="check the registry's name, the network and, for a certificate of your own, azure.caFile",
)


class Source(Protocol):
    """What is uploaded."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...


class RunState(StrEnum):
    """A run's states, as the service names them."""

    QUEUED = "Queued"
    STARTED = "Started"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    ERROR = "Error"
    TIMEOUT = "Timeout"

    @property
    def final(self) -> bool:
        """Whether nothing comes after it."""
        return self not in (RunState.QUEUED, RunState.STARTED, RunState.RUNNING)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run as it is now, with the service's own words for why it failed."""

    state: RunState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AcrPlace:
    """Which registry.

    Args:
        registry: Its name. host: Where it answers engines (`NAME.azurecr.io`).
        management: Address of Azure Resource Manager (`https://management.azure.com`).
        transport: What every client of the SDK is made with (`connection_verify`).
    """

    registry: str
    resource_group: str
    subscription: str
    host: str
    management: str
    transport: Mapping[str, Any]


class AcrService:
    """Calls of one registry. Safe to use from many threads.

    Args:
        credential: Gives the credential when it is first needed.
    """

    def __init__(self, place: AcrPlace, credential: Callable[[], TokenCredential]) -> None:
        self._place = place
        self._credential = credential
        self._lock = threading.Lock()
        self._made: tuple[ContainerRegistryTasksMgmtClient, ContainerRegistryClient] | None = None
        self._http: httpx.Client | None = None
        self._token: TokenCredential | None = None

    @property
    def host(self) -> str:
        """Where the registry answers engines."""
        return self._place.host

    def __str__(self) -> str:
        return f"registry {self._place.registry}"

    # -- runs

    def upload(self, source: Source, size: int) -> str:
        """Puts a packed context where the service wants it, and returns where that is."""
        with self._calls("asking where the source goes"):
            given = self._tasks().registries.get_build_source_upload_url(*self._where())
        if not given.upload_url or not given.relative_path:
            raise UnavailableError(f"{self} does not say where the source goes")
        with self._plain("uploading the source") as http:
            headers = {**_BLOB, "Content-Length": str(size)}
            answer = http.put(given.upload_url, content=_pieces(source), headers=headers, timeout=_TIMEOUT)
            _blob(answer, "uploading the source")
        return str(given.relative_path)

    def docker_build(
        self, source: str, names: Sequence[str], architecture: str, seconds: int, credentials: Credentials
    ) -> Mapping[str, Any]:
        """The request of a run that builds, and pushes what has a name."""
        request: dict[str, Any] = {
            "type": "DockerBuildRequest",
            "sourceLocation": source,
            "dockerFilePath": "Dockerfile",
            "imageNames": list(names),
            "isPushEnabled": bool(names),
            "platform": {"os": "Linux", "architecture": architecture},
            "timeout": seconds,
            "credentials": {"sourceRegistry": {"loginMode": "Default"}},
        }
        if credentials.base is not None and credentials.base_registry:
            secrets = {"userName": credentials.base["username"], "password": credentials.base["password"]}
            request["credentials"]["customRegistries"] = {
                credentials.base_registry.partition("/")[0]: {
                    name: {"type": "Opaque", "value": value} for name, value in secrets.items()
                }
            }
        return request

    def schedule(self, request: Mapping[str, Any]) -> str:
        """Begins a run and returns its id."""
        with self._calls("scheduling a build"):
            run = self._tasks().registries.schedule_run(*self._where(), cast("Any", dict(request)))
        return str((run.properties.run_id if run.properties else None) or run.name)

    def state(self, run: str) -> Ended:
        """How a run is."""
        with self._calls(f"asking for run {run}"):
            found = self._tasks().runs.get(*self._where(), run)
        properties = found.properties
        status: Any = properties.status if properties else ""
        said = str(getattr(status, "value", status))
        try:
            state = RunState(said)
        except ValueError:
            raise UnavailableError(f"run {run} of {self} is in a state that is not known: {said[:40]}") from None
        return Ended(state, str((properties.run_error_message if properties else None) or ""))

    def log_link(self, run: str) -> str:
        """Where a run's log is, for about an hour; it carries its own permission. "" as long as there is none."""
        with self._calls(f"asking for the log of run {run}"):
            return str(self._tasks().runs.get_log_sas_url(*self._where(), run).log_link or "")

    def log(self, link: str, offset: int) -> bytes:
        """What a log has from an offset on.

        Raises:
            AccessError: The link is too old.
        """
        with self._plain("reading a log") as http:
            answer = http.get(link, headers={"Range": f"bytes={offset}-"}, timeout=_TIMEOUT)
            # 404: not written yet; 416: nothing new.
            if answer.status_code in (404, 416):
                return b""
            _blob(answer, "reading a log")
            return answer.content if answer.status_code == 206 else answer.content[offset:]

    def cancel(self, run: str) -> None:
        """Stops a run."""
        with self._calls(f"cancelling run {run}"):
            self._tasks().runs.cancel(*self._where(), run)

    # -- images

    def tags(self, repository: str) -> Mapping[str, str]:
        """Digests by tag; nothing for a repository that is not there."""
        with self._missing_is_fine(), self._calls(f"listing {repository}"):
            return {tag.name: tag.digest for tag in self._images().list_tag_properties(repository)}
        return {}

    def image(self, repository: str, tag: str) -> Standing | None:
        """An image with its labels."""
        with self._missing_is_fine(), self._calls(f"reading {repository}:{tag}"):
            client = self._images()
            # Asked first, since the SDK leaves a connection open where it does not get the manifest that it asks for.
            digest = str(client.get_tag_properties(repository, tag).digest)
            found = client.get_manifest(repository, digest)
            manifest = cast("Mapping[str, Any]", found.manifest)
            if found.media_type not in _MANIFESTS:
                return None
            config = b"".join(client.download_blob(repository, str(manifest["config"]["digest"])))
            made_with = cast("Mapping[str, Any]", json.loads(config).get("config") or {})
            labels = cast("Mapping[str, str]", made_with.get("Labels") or {})
            size = sum(int(layer.get("size") or 0) for layer in manifest.get("layers") or ())
            return Standing(digest, labels, size, digest)
        return None

    def remove(self, repository: str, tag: str, digest: str) -> None:
        """Removes an image, or only its name if it has others."""
        with self._missing_is_fine(), self._calls(f"removing {repository}:{tag}"):
            client = self._images()
            others = set(client.get_manifest_properties(repository, digest).tags or ()) - {tag}
            if others:
                client.delete_tag(repository, tag)
            else:
                client.delete_manifest(repository, digest)

    def login(self) -> Mapping[str, str]:
        """Credentials for an engine that pulls from here, good for about three hours.

        Source: "Authenticate with an Azure container registry", az acr login with --expose-token.
        """
        what = "signing in"
        with self._calls(what):
            self._clients()
            assert self._token is not None
            token = self._token.get_token(f"{self._place.management}/.default").token
        with self._plain(what) as http:
            form = {"grant_type": "access_token", "service": self.host, "access_token": token}
            answer = http.post(f"https://{self.host}/oauth2/exchange", data=form, timeout=_TIMEOUT)
        if answer.status_code != 200:
            raise AccessError(f"{what}: {self} says {answer.status_code}", hint="the identity needs the role AcrPull")
        return {"username": _USER, "password": str(answer.json()["refresh_token"])}

    def close(self) -> None:
        """Ends connections; used again, it connects anew."""
        with self._lock:
            made, self._made = self._made, None
            http, self._http = self._http, None
            token, self._token = self._token, None
        with suppress(AttributeError):
            cast("Any", token).close()
        if made is not None:
            tasks, images = made
            # Its `close` leaves the part open that exchanges tokens; leaving its context does not.
            cast("Any", images).__exit__(None, None, None)
            tasks.close()
        if http is not None:
            http.close()

    # -- details

    def _where(self) -> tuple[str, str]:
        return self._place.resource_group, self._place.registry

    def _tasks(self) -> ContainerRegistryTasksMgmtClient:
        return self._clients()[0]

    def _images(self) -> Any:
        """The `ContainerRegistryClient`, whose methods are typed in part."""
        return self._clients()[1]

    def _clients(self) -> tuple[ContainerRegistryTasksMgmtClient, ContainerRegistryClient]:
        with self._lock:
            if self._made is None:
                self._made = self._connect()
            return self._made

    def _connect(self) -> tuple[ContainerRegistryTasksMgmtClient, ContainerRegistryClient]:
        try:
            with importing():
                from azure.containerregistry import ContainerRegistryClient
                from azure.mgmt.containerregistrytasks import ContainerRegistryTasksMgmtClient
        except ImportError as error:
            raise InvalidError(
                "building at Azure Container Registry needs packages that are not installed here",
                hint="pip install 'reconciler[azure]'",
            ) from error
        place = self._place
        common: dict[str, Any] = {
            "retry_total": 0,
            "connection_timeout": 10,
            "read_timeout": _TIMEOUT,
            **place.transport,
        }
        credential = self._token = self._token or self._credential()
        tasks = ContainerRegistryTasksMgmtClient(
            credential,
            place.subscription,
            place.management,
            credential_scopes=[f"{place.management.rstrip('/')}/.default"],
            **common,
        )
        images = ContainerRegistryClient(
            f"https://{place.host}", credential, audience=place.management.rstrip("/"), **common
        )
        return tasks, images

    @contextmanager
    def _calls(self, what: str) -> Generator[None]:
        self._clients()
        from azure.core.exceptions import AzureError

        try:
            yield
        except AzureError as error:
            raise refusal(error, str(self), what, _HINTS) from error
        except ValueError as error:
            # What the SDK thinks of an answer that is not what was asked for, digests that do not match among it.
            raise UnavailableError(f"{what}: what {self} answered cannot be used") from error

    @contextmanager
    def _missing_is_fine(self) -> Generator[None]:
        try:
            yield
        except MissingError:
            return

    @contextmanager
    def _plain(self, what: str) -> Generator[httpx.Client]:
        """Calls without the SDK; addresses of the storage service carry their own permission and are told to nobody."""
        with self._lock:
            if self._http is None:
                self._http = httpx.Client(verify=_verify(self._place.transport), follow_redirects=False)
        try:
            yield self._http
        except Stopped:
            raise
        except (httpx.HTTPError, OSError) as error:
            raise UnavailableError(f"{what}: {self} cannot be reached: {reason(error)}") from error


def _pieces(source: Source) -> Iterator[bytes]:
    while piece := source.read(_CHUNK):
        yield piece


def _blob(answer: httpx.Response, what: str) -> None:
    if answer.status_code in (200, 201, 206):
        return
    code = answer.headers.get("x-ms-error-code", "")
    message = f"{what}: the registry's storage says {answer.status_code} {code}".rstrip()
    if answer.status_code == 403:
        raise AccessError(message)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise UnavailableError(message)
    raise TerminalError(message)


def _verify(transport: Mapping[str, Any]) -> Any:
    import ssl

    file = transport.get("connection_verify")
    return ssl.create_default_context(cafile=str(file)) if file else True
