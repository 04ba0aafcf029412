"""The real SDK against a vault on the wire: its answers, the ways to sign in, and what nobody is asked."""

from __future__ import annotations

import gc
import logging
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.azure.login import AzureLogin
from reconciler.core.errors import (
    AccessError,
    InvalidError,
    ReconcilerError,
    RefusedError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.secrets import SecretRef
from reconciler.secrets.keyvault import KeyVaults, split
from reconciler.secrets.scope import Scope, Vaults
from reconciler.secrets.sources import Sources
from tests.daemon.rig import until

from .azure import ASSERTION, CLIENT, CLIENT_SECRET, TENANT, Answer, Azure


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.time = 100.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    """At some time."""
    return Clock()


@pytest.fixture
def login(azure: Azure, certificate: tuple[Path, Path]) -> AzureLogin:
    """A client secret that is right."""
    host = f"localhost:{azure.port}"
    return AzureLogin("clientSecret", "public", host, TENANT, CLIENT, CLIENT_SECRET, certificate[0])


@pytest.fixture
def vaults(azure: Azure, login: AzureLogin, clock: Clock) -> Iterator[KeyVaults]:
    """A vault named `ml` that may be read."""
    made = KeyVaults(named(azure), login, clock.sleep, lambda: clock.time)
    yield made
    made.close()


def named(azure: Azure, **more: Any) -> Vaults:
    """The vault on the wire under the name `ml`."""
    return Vaults.of([f"ml={azure.url}"], "vault.azure.net", **more)


def failure(vaults: KeyVaults, name: str) -> ReconcilerError:
    """What reading ends in; nothing of requests and answers is in what anybody would print of it."""
    with pytest.raises(ReconcilerError) as caught:
        vaults.read(name)
    error = caught.value
    assert "c4n4ry" not in f"{error} {error.hint}"
    return error


def test_the_newest_version_and_a_certain_one(vaults: KeyVaults, azure: Azure) -> None:
    """Without a version the newest is read, also after a rotation; a version stays what it is."""
    first = azure.put("db", "one")
    assert vaults.read("ml/db").text == "one"
    azure.put("db", "two → ü\n")
    assert [vaults.read(name).text for name in ("ml/db", f"ml/db/{first}", "ML/db")] == [
        "two → ü\n",
        "one",
        "two → ü\n",
    ]
    assert len(azure.sign_ins) == 1
    assert azure.sign_ins[0]["scope"] == f"{azure.resource}/.default"
    assert [path for path in azure.asked if path.startswith("challenged")] == ["challenged /secrets/db/"]


@pytest.mark.parametrize(
    ("allowed", "vault", "url"),
    [
        (["ml-prod"], "ml-prod", "https://ml-prod.vault.azure.cn"),
        (["ml-prod"], "ML-Prod", "https://ml-prod.vault.azure.cn"),
        (["ml-prod"], "https://ml-prod.vault.azure.cn/", "https://ml-prod.vault.azure.cn"),
        (["https://ml-prod.vault.azure.cn/"], "ml-prod", "https://ml-prod.vault.azure.cn"),
        (["https://hsm.example:8443"], "https://hsm.example:8443", "https://hsm.example:8443"),
        (["ml-prod=https://10.1.2.3"], "ml-prod", "https://10.1.2.3"),
        (["ml-prod=https://10.1.2.3"], "https://ml-prod.vault.azure.cn", "https://10.1.2.3"),
        (["ml-prod"], "ml-prod2", None),
        (["ml-prod"], "https://ml-prod.vault.azure.net", None),
        (["ml-prod"], "https://ml-prod.vault.azure.cn.evil.example", None),
        (["https://hsm.example"], "hsm", None),
        ([], "ml-prod", None),
    ],
)
def test_which_vaults_are_allowed(allowed: list[str], vault: str, url: str | None) -> None:
    """By name or by URL, and where a name leads is the operator's to say."""
    assert Vaults.of(allowed, "vault.azure.cn").url_of(vault) == url


def test_a_vault_that_is_not_allowed_is_not_asked(vaults: KeyVaults, azure: Azure) -> None:
    """Nor is anybody asked for a token."""
    error = failure(vaults, "other/db")
    assert isinstance(error, RefusedError)
    assert "secrets.keyVault.vaults" in str(error)
    assert azure.asked == azure.sign_ins == []


def test_names_are_taken_apart() -> None:
    """As they were put together, with a vault's name or its URL."""
    names = ("ml/db", "ml/db/0123", "https://v.example:1/db", "https://v.example/db/0123")
    assert [split(name) for name in names] == [
        ("ml", "db", ""),
        ("ml", "db", "0123"),
        ("https://v.example:1", "db", ""),
        ("https://v.example", "db", "0123"),
    ]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(403, "Forbidden", "ForbiddenByRbac"), AccessError, "Key Vault Secrets User"),
        (Answer(403, "Forbidden", "AccessDenied"), AccessError, "Key Vault Secrets User"),
        (Answer(403, "Forbidden"), AccessError, "access policy 'get'"),
        (Answer(403, "Forbidden", "ForbiddenByFirewall"), AccessError, "firewall of key vault ml"),
        (Answer(403, "Forbidden", "ForbiddenByConnection"), AccessError, "private endpoint"),
        (Answer(401, "Unauthorized"), AccessError, "does not accept our token"),
        (Answer(400, "BadParameter"), TerminalError, "answered 400"),
        (Answer(404, "SecretNotFound"), TerminalError, "there is no secret db of key vault ml"),
        (Answer(429, "Throttled"), ThrottledError, "fewer requests"),
        (Answer(500, "InternalServerError"), UnavailableError, "answered 500"),
        (Answer(503, "ServiceUnavailable"), UnavailableError, "answered 503"),
        (Answer(200, cut=True), UnavailableError, "no whole answer"),
    ],
)
def test_what_the_vault_answers(
    vaults: KeyVaults, azure: Azure, answer: Answer, kind: type[Exception], words: str
) -> None:
    """Each answer becomes the error that says how to go on, and what to do."""
    azure.put("db", "one")
    azure.faults["db"] = replace(answer)
    error = failure(vaults, "ml/db")
    assert type(error) is kind
    assert words in f"{error} {error.hint}"


def test_a_secret_that_is_missing_disabled_or_out_of_its_time(vaults: KeyVaults, azure: Azure) -> None:
    """Names, versions and dates are said; one past its time is still given, as the service does."""
    first = azure.put("db", "one")
    azure.put("off", "x", enabled=False)
    azure.put("old", "x", exp=1_700_000_000)
    azure.put("young", "x", nbf=int(time.time()) + 1_000_000)
    told = {name: str(failure(vaults, name)) for name in ("ml/none", f"ml/db/{'0' * 32}", "ml/off")}
    assert told == {
        "ml/none": "there is no secret none of key vault ml",
        f"ml/db/{'0' * 32}": f"there is no secret db version {'0' * 32} of key vault ml",
        "ml/off": "secret off of key vault ml is disabled",
    }
    assert vaults.read(f"ml/db/{first}").warning == ""
    assert vaults.read("ml/old").warning == "secret old of key vault ml expired on 2023-11-14"
    assert "is not valid before" in vaults.read("ml/young").warning


def test_a_vault_that_recovers_is_asked_again(vaults: KeyVaults, azure: Azure, clock: Clock) -> None:
    """With growing pauses, or those that it asks for, as long as they are short."""
    azure.put("db", "one")
    azure.faults["db"] = Answer(503, times=2)
    assert vaults.read("ml/db").text == "one"
    azure.faults["db"] = Answer(429, headers={"Retry-After": "3"}, times=1)
    assert vaults.read("ml/db").text == "one"
    assert clock.pauses == [0.8, 1.6, 3.0]


def test_a_vault_that_asks_for_time_gets_it(vaults: KeyVaults, azure: Azure, clock: Clock) -> None:
    """Nobody waits that long; it is left alone until then, in later looks, too."""
    azure.put("db", "one")
    azure.put("other", "two")
    azure.faults["db"] = Answer(429, headers={"Retry-After": "120"}, times=1)
    error = failure(vaults, "ml/db")
    assert isinstance(error, ThrottledError)
    assert error.retry_after == 120
    before = len(azure.asked)
    for _ in range(2):
        vaults.begin()
        assert isinstance(failure(vaults, "ml/other"), ThrottledError)
    assert len(azure.asked) == before
    assert clock.pauses == []
    clock.time += 121
    vaults.begin()
    assert vaults.read("ml/other").text == "two"


def test_a_silent_vault_is_asked_once_a_look(azure: Azure, login: AzureLogin, clock: Clock) -> None:
    """Not once for each of its secrets; the next look asks again."""
    vaults = KeyVaults(named(azure, attempts=2), login, clock.sleep, lambda: clock.time)
    azure.put("a", "one")
    azure.faults["*"] = Answer(503)
    told = [failure(vaults, f"ml/{name}") for name in ("a", "b", "c")]
    assert {type(error) for error in told} == {UnavailableError}
    assert azure.reads == ["/secrets/a/"] * 2
    azure.faults.clear()
    vaults.begin()
    assert vaults.read("ml/a").text == "one"
    vaults.close()


def test_nobody_is_there(certificate: tuple[Path, Path], clock: Clock) -> None:
    """A port that nobody listens on, a name that does not exist, a certificate that nobody signed."""
    login = AzureLogin("clientSecret", "public", "localhost:1", TENANT, CLIENT, CLIENT_SECRET, certificate[0])
    allowed = Vaults.of(["closed=https://127.0.0.1:1", "none=https://no-such-host.invalid"], "x", attempts=1, timeout=5)
    vaults = KeyVaults(allowed, login, clock.sleep)
    told = [failure(vaults, f"{name}/db") for name in ("closed", "none")]
    assert {type(error) for error in told} == {UnavailableError}
    assert "the connection was refused" in str(told[0])
    vaults.close()


def test_a_certificate_of_somebody_else(azure: Azure, login: AzureLogin, clock: Clock) -> None:
    """Nothing is sent to who cannot prove who it is."""
    vaults = KeyVaults(named(azure, attempts=1), replace(login, ca_file=None), clock.sleep)
    error = failure(vaults, "ml/db")
    assert isinstance(error, UnavailableError)
    assert "certificate is not trusted" in str(error)
    assert "azure.caFile" in error.hint
    assert azure.asked == azure.sign_ins == []
    vaults.close()


def test_a_vault_that_asks_for_a_token_of_another_domain(azure: Azure, login: AzureLogin, clock: Clock) -> None:
    """It gets none: who answers there may pass our token on. An operator may know better."""
    azure.put("db", "one")
    azure.resource = "https://management.azure.com"
    strict = KeyVaults(named(azure), login, clock.sleep)
    error = failure(strict, "ml/db")
    assert isinstance(error, AccessError)
    assert "secrets.keyVault.verifyChallenge" in error.hint
    assert azure.sign_ins == []
    trusting = KeyVaults(named(azure, verify_challenge=False), login, clock.sleep)
    assert trusting.read("ml/db").text == "one"
    strict.close()
    trusting.close()


def test_signing_in_with_a_wrong_secret(azure: Azure, login: AzureLogin, clock: Clock) -> None:
    """The code of the sign-in is said, its text, which may repeat what it was told, is not."""
    vaults = KeyVaults(named(azure), replace(login, client_secret="c4n4ry-wrong"), clock.sleep)
    error = failure(vaults, "ml/db")
    assert isinstance(error, AccessError)
    assert "AADSTS7000215" in str(error)
    vaults.close()


def test_a_vault_of_another_tenant(azure: Azure, login: AzureLogin, clock: Clock) -> None:
    """No token is asked for on the word of the vault's challenge alone."""
    azure.put("db", "one")
    azure.tenant = "ffffffff-1111-4222-8333-123456789012"
    vaults = KeyVaults(named(azure), login, clock.sleep)
    assert isinstance(failure(vaults, "ml/db"), AccessError)
    assert azure.sign_ins == []
    vaults.close()


def test_signing_in_with_a_workload_identity(
    azure: Azure, login: AzureLogin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token that Kubernetes puts into a file is handed on as an assertion."""
    azure.put("db", "one")
    (tmp_path / "token").write_text(ASSERTION)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    vaults = KeyVaults(named(azure), replace(login, credential="workloadIdentity", client_secret=""))
    assert vaults.read("ml/db").text == "one"
    assert azure.sign_ins[0]["client_assertion"] == ASSERTION
    vaults.close()


@pytest.mark.parametrize("credential", ["managedIdentity", "auto"])
def test_signing_in_with_a_managed_identity(
    azure: Azure, login: AzureLogin, credential: str, monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]
) -> None:
    """By the endpoint that the platform names; `auto` finds it, too."""
    azure.put("db", "one")
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"https://localhost:{azure.port}/identity")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    vaults = KeyVaults(named(azure), replace(login, credential=credential, client_secret="", tenant_id=""))
    assert vaults.read("ml/db").text == "one"
    assert azure.sign_ins[0]["header"] == "header"
    assert azure.sign_ins[0]["resource"] == azure.resource
    vaults.close()


def test_signing_in_by_the_environment(azure: Azure, login: AzureLogin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that every tool for Azure knows."""
    azure.put("db", "one")
    for name, value in {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "CLIENT_SECRET": CLIENT_SECRET}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    vaults = KeyVaults(named(azure), replace(login, credential="environment", client_secret=""))
    assert vaults.read("ml/db").text == "one"
    vaults.close()


@pytest.mark.parametrize("credential", ["clientSecret", "workloadIdentity", "environment"])
def test_settings_that_are_not_complete(azure: Azure, credential: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are said before, or instead of, asking anybody."""
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    vaults = KeyVaults(named(azure), AzureLogin(credential))
    assert isinstance(failure(vaults, "ml/db"), (InvalidError, UnavailableError))
    assert azure.sign_ins == []


def test_secrets_are_read_several_at_once(azure: Azure, login: AzureLogin) -> None:
    """The first alone, which finds out whether the vault answers, then as many as the settings say."""
    for number in range(9):
        azure.put(f"s{number}", str(number))
    allowed = named(azure, parallel=4)
    made = KeyVaults(allowed, login)
    sources = Sources(Scope(vaults=allowed), lambda: made, _none)
    refs = [SecretRef("keyVault", f"ml/s{number}") for number in range(9)]
    found = sources.read_all(refs)
    assert [_text(found[ref]) for ref in refs] == [str(number) for number in range(9)]
    assert sources.read_all(refs[:1])[refs[0]] == found[refs[0]]
    azure.hold_after = len(azure.reads) + 1
    thread = threading.Thread(target=sources.read_all, args=(refs,))
    thread.start()
    until(lambda: azure.at_once == 4)
    azure.gate.set()
    thread.join()
    assert azure.most_at_once == 4
    sources.close()


def test_nothing_is_logged_that_was_said(
    vaults: KeyVaults, azure: Azure, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever level, and whatever a traceback of a failure would show."""
    azure.put("db", "c4n4ry-value")
    with caplog.at_level(logging.DEBUG):
        vaults.read("ml/db")
        azure.faults["db"] = Answer(403, "Forbidden", "ForbiddenByRbac")
        try:
            vaults.read("ml/db")
        except AccessError as error:
            shown = "".join(traceback.format_exception(type(error), error, None))
    logged = " ".join(f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.records)
    assert caplog.records
    assert "c4n4ry" not in logged
    assert "c4n4ry" not in shown
    assert "c4n4ry" not in "".join(capfd.readouterr())
    gc.collect()


def _text(found: Any) -> str:
    assert not isinstance(found, ReconcilerError), found
    return str(found.text)


def _none() -> Any:
    raise AssertionError("no file is encrypted here")
