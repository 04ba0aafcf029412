"""The real SDK against a registry on the wire: contexts that go up, runs that are followed, images that are found."""

from __future__ import annotations

import gzip
import io
import json
import ssl
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from reconciler.artifacts.environments.uv import Limits, Stopped
from reconciler.artifacts.images.acr import AcrBuilder
from reconciler.artifacts.images.acr_service import AcrPlace, AcrService
from reconciler.artifacts.images.builder import Credentials, Order, Presence, Recorded, Standing
from reconciler.artifacts.images.context import Context
from reconciler.azure.login import AzureLogin, credential_of
from reconciler.core.errors import AccessError, TargetError, TerminalError, ThrottledError, UnavailableError
from tests.artifacts.images.acr_server import GROUP, NAME, SUBSCRIPTION, Fault, Registry, registry_server
from tests.vaults.azure import CLIENT, CLIENT_SECRET, TENANT, azure_server

RECORDING = "azure-contract/acr/recordings/test_acr_create_with_managed_registry.json"
IDENTITY = "a" * 64
LABELS = f'LABEL dev.reconciler.image.identity="{IDENTITY}" dev.reconciler.image.python="3.11.2"'


class World:
    """A registry, and a builder that signs in to it."""

    def __init__(self, registry: Registry, login: AzureLogin, folder: Path) -> None:
        self.registry = registry
        self.login = login
        self.stop = threading.Event()
        self.lines: list[str] = []
        self.log = self.lines.append
        address = f"https://{registry.host}"
        place = AcrPlace(NAME, GROUP, SUBSCRIPTION, registry.host, address, login.transport)
        self.service = AcrService(place, lambda: credential_of(login))
        self.builder = AcrBuilder(self.service, folder, poll_seconds=0.001)

    @property
    def limits(self) -> Limits:
        return Limits(time.monotonic() + 60, self.stop, 1)

    def order(self, tag: str = "aaaaaaaaaaaa", credentials: Credentials | None = None) -> Order:
        reference = f"{self.registry.host}/diabetes:{tag}"
        return Order(IDENTITY, reference, "stage", True, credentials or Credentials())

    def build(self, order: Order | None = None, labels: str = LABELS) -> None:
        archive = io.BytesIO()
        context = Context(archive)
        context.text("Dockerfile", f"FROM python:3.11-slim\nCOPY models/ /models/\n{labels}\n")
        context.text("models/m", "weights")
        context.close()
        archive.seek(0)
        self.builder.build(archive, order or self.order(), self.limits, self.log)


@pytest.fixture
def world(certificate: tuple[Path, Path], tmp_path: Path) -> Iterator[World]:
    """One that can be built at."""
    with ExitStack() as stack:
        azure = stack.enter_context(azure_server(*certificate))
        registry = stack.enter_context(registry_server(*certificate, azure.tokens))
        registry.resources[NAME] = {}
        login = AzureLogin(
            "clientSecret", "public", f"localhost:{azure.port}", TENANT, CLIENT, CLIENT_SECRET, certificate[0]
        )
        made = World(registry, login, tmp_path / "work")
        yield made
        made.builder.close()


def test_the_server_answers_as_the_service_was_recorded(world: World) -> None:
    """The fake's own test: what the real registry said to these requests, it says too, in status, header and keys."""
    path = Path(__file__).parents[3].parent / "shared" / RECORDING
    if not path.exists():
        pytest.skip("the recorded conversation is not at hand")
    credential = credential_of(world.login)
    token = credential.get_token(f"https://{world.registry.host}/.default").token
    credential.close()  # type: ignore[attr-defined]
    base = f"https://{world.registry.host}"
    replayed = 0
    with httpx.Client(verify=ssl.create_default_context(cafile=world.login.ca_file)) as http:
        operation = ""
        for interaction in json.loads(path.read_text())["interactions"]:
            request, recorded = interaction["request"], interaction["response"]
            asked = request["path"]
            if not any(part in asked for part in ("/registries/",)) or any(
                part in asked for part in ("listUsages", "/replications", "/webhooks")
            ):
                continue
            url = operation if "operationStatuses" in asked else f"{base}{asked}"
            answer = http.request(
                request["method"], url, json=request.get("body"), headers={"Authorization": f"Bearer {token}"}
            )
            assert answer.status_code == recorded["status"], asked
            operation = answer.headers.get("azure-asyncoperation", "").partition("?")[0] + "?api-version=1" or operation
            if isinstance(recorded.get("body"), dict):
                assert set(answer.json()) <= set(recorded["body"]) | {"identity"}, asked
            assert ("azure-asyncoperation" in answer.headers) == ("azure-asyncoperation" in recorded["headers"]), asked
            replayed += 1
    assert replayed > 15


def test_a_context_goes_up_and_an_image_comes_out(world: World) -> None:
    """Uploaded packed, built by a run that is asked for by name, found by its labels, and the log is told once."""
    credentials = Credentials({"username": "me", "password": "c4n4ry-pull"}, None, "private.example/ml")
    assert world.builder.find(IDENTITY, world.order().reference) is None
    world.build(world.order(credentials=credentials))
    (run,) = world.registry.runs.values()
    assert run.request["imageNames"] == ["diabetes:aaaaaaaaaaaa"]
    assert run.request["platform"] == {"os": "Linux", "architecture": "amd64"}
    assert run.request["credentials"]["customRegistries"] == {
        "private.example": {
            "userName": {"type": "Opaque", "value": "me"},
            "password": {"type": "Opaque", "value": "c4n4ry-pull"},
        }
    }
    (archive,) = world.registry.blobs.values()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as tar:
        assert tar.getnames() == ["Dockerfile", "models", "models/m"]
    told = [line for line in world.lines if line.startswith("Step")]
    assert told == run.lines
    found = world.builder.find(IDENTITY, world.order().reference)
    assert found is not None
    assert found.labels["dev.reconciler.image.python"] == "3.11.2"
    assert world.builder.publish(found, world.order(), world.limits, world.log) == found.id
    assert world.builder.find("b" * 64, world.order().reference) is None
    assert not [line for line in world.lines if "c4n4ry" in line]


def test_what_became_of_images_is_told_by_their_names(world: World) -> None:
    """There, moved by somebody, or gone; a repository is listed once."""
    first = world.registry.put("diabetes", "one", {"a": "1"})
    second = world.registry.put("diabetes", "two", {"a": "2"})
    host = world.registry.host
    recorded = {
        "there": Recorded(first, f"{host}/diabetes:one"),
        "moved": Recorded(first, f"{host}/diabetes:two"),
        "gone": Recorded(first, f"{host}/diabetes:three"),
        "never": Recorded(second, f"{host}/other:one"),
    }
    world.registry.asked.clear()
    assert world.builder.presence(recorded) == {
        "there": Presence.THERE,
        "moved": Presence.MOVED,
        "gone": Presence.GONE,
        "never": Presence.GONE,
    }
    assert len({path for path in world.registry.asked if "/diabetes/" in path}) == 1


def test_only_what_is_ours_is_removed(world: World) -> None:
    """An image that has another name loses ours alone; a name that means another image by now stays."""
    host = world.registry.host
    mine = world.registry.put("diabetes", "mine", {"a": "1"})
    world.registry.tags["diabetes"]["theirs"] = mine
    other = world.registry.put("diabetes", "moved", {"a": "2"})
    world.builder.remove(Recorded(mine, f"{host}/diabetes:moved"))
    world.builder.remove(Recorded(mine, f"{host}/diabetes:mine"))
    assert world.registry.tags["diabetes"] == {"theirs": mine, "moved": other}
    world.builder.remove(Recorded(other, f"{host}/diabetes:moved"))
    world.builder.remove(Recorded(other, f"{host}/nowhere:moved"))
    assert world.registry.tags["diabetes"] == {"theirs": mine}


def test_a_base_image_is_looked_into_by_a_run_that_pushes_nothing(world: World) -> None:
    """Its Python, C library and machine come from the run's log; one that cannot be run says what it must have."""
    base = world.builder.base("python:3.11-slim", "", Credentials(), world.limits, world.log)
    assert (base.python, base.platform) == ((3, 11, 2), "x86_64-manylinux_2_36")
    (run,) = world.registry.runs.values()
    assert run.request["isPushEnabled"] is False
    world.registry.ends = "Failed"
    world.registry.says = ["Step 3/3 : RUN", "exec: sh: not found"]
    world.registry.facts = ""
    with pytest.raises(TerminalError, match="looking into base image scratch"):
        world.builder.base("scratch", "", Credentials(), world.limits, world.log)


@pytest.mark.parametrize(
    ("ends", "why", "says", "kind"),
    [
        ("Failed", "failed to run step ID: build: exit status 1", "the disk of dreams", TerminalError),
        ("Failed", "failed to pull", "toomanyrequests: You have reached your pull rate limit", ThrottledError),
        ("Canceled", "", "somebody pressed the button", UnavailableError),
        ("Error", "internal", "a machine went away", UnavailableError),
        ("Timeout", "", "it took long", UnavailableError),
    ],
)
def test_a_run_that_fails_says_its_last_lines(
    world: World, ends: str, why: str, says: str, kind: type[TargetError]
) -> None:
    """What the service says of it, and what was printed last; the class says whether to try again."""
    world.registry.ends, world.registry.why, world.registry.says = ends, why, [says]
    with pytest.raises(kind) as caught:
        world.build()
    assert (why or ends) in caught.value.message
    assert says in caught.value.message
    assert not world.registry.cancelled
    assert world.builder.find(IDENTITY, world.order().reference) is None


def test_a_build_that_is_stopped_is_cancelled_at_the_registry(world: World) -> None:
    """While the run goes on there; nothing is waited for."""
    world.registry.holds = True
    stopped: list[BaseException] = []

    def work() -> None:
        try:
            world.build()
        except Stopped as error:
            stopped.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert world.registry.running.wait(30)
    world.stop.set()
    thread.join(30)
    assert stopped
    assert world.registry.cancelled == ["ca1"]
    assert world.registry.runs["ca1"].status == "Canceled"


def test_a_service_that_stumbles_is_asked_again(world: World) -> None:
    """Errors of a moment while a run is followed do not fail it; a link to the log that grew old is renewed."""
    error = {"error": {"code": "InternalServerError", "message": "try later"}}
    world.registry.faults = [
        Fault(r"GET .*/runs/ca1$", 500, error),
        Fault(r"GET .*/runs/ca1$", 429, error, headers={"Retry-After": "0"}),
        Fault(r"GET /blob/log/ca1$", 403, {}),
    ]
    world.build()
    assert world.builder.find(IDENTITY, world.order().reference) is not None
    assert not world.registry.cancelled
    assert sum(path.endswith("listLogSasUrl") for path in world.registry.asked) == 2


@pytest.mark.parametrize(
    ("pattern", "status", "kind", "words"),
    [
        ("POST .*/scheduleRun", 403, AccessError, "AuthorizationFailed"),
        ("POST .*/scheduleRun", 429, ThrottledError, "scheduling a build"),
        ("POST .*/scheduleRun", 503, UnavailableError, "says 503"),
        ("POST .*/scheduleRun", 400, TerminalError, "AuthorizationFailed"),
        ("PUT /blob/", 403, AccessError, "uploading the source"),
        ("PUT /blob/", 500, UnavailableError, "uploading the source"),
    ],
)
def test_each_refusal_says_how_to_go_on(
    world: World, pattern: str, status: int, kind: type[TargetError], words: str
) -> None:
    """By its class; no address with a permission, and no token, is told."""
    body = {"error": {"code": "AuthorizationFailed", "message": "does not have authorization"}}
    world.registry.faults = [Fault(pattern, status, body, times=-1)]
    with pytest.raises(kind) as caught:
        world.build()
    assert words in caught.value.message
    assert "c4n4ry" not in f"{caught.value.message} {caught.value.hint} {world.lines}"


def test_engines_pull_with_a_token_of_the_same_identity(world: World) -> None:
    """What `az acr login` does: no password is kept anywhere."""
    assert world.service.login() == {
        "username": "00000000-0000-0000-0000-000000000000",
        "password": "c4n4ry-refresh",
    }
    world.registry.faults = [Fault("POST /oauth2/exchange", 401, {})]
    with pytest.raises(AccessError, match="says 401"):
        world.service.login()


def test_a_registry_that_is_not_there_is_said_with_its_settings(world: World) -> None:
    """A typo in the operator's settings, and a network that leads nowhere."""
    world.registry.resources.clear()
    with pytest.raises(TerminalError, match="ResourceNotFound") as caught:
        world.build()
    assert "images.acr" in caught.value.hint
    place = AcrPlace(NAME, GROUP, SUBSCRIPTION, "127.0.0.1:1", "https://127.0.0.1:1", {})
    nowhere = AcrBuilder(AcrService(place, lambda: credential_of(world.login)), Path("/nowhere"))
    with pytest.raises(UnavailableError, match="registry mlimages cannot be reached"):
        nowhere.presence({"a": Recorded("sha256:1", "127.0.0.1:1/a:b")})
    nowhere.close()


def test_an_image_with_this_name_and_no_labels_is_not_taken_for_ours(world: World) -> None:
    """Somebody pushed something under the name that was to be built."""
    world.registry.put("diabetes", "aaaaaaaaaaaa", {})
    assert world.builder.find(IDENTITY, world.order().reference) is None
    world.build()
    found = world.builder.find(IDENTITY, world.order().reference)
    assert isinstance(found, Standing)
