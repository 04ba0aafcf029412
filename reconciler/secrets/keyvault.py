"""Secrets of Azure Key Vaults, through azure-keyvault-secrets; the one module that imports it, when it is first needed.

A vault that does not answer is asked once a look, not once for each of its secrets, and one that asks for fewer
requests is left alone as long as it says. Errors are mapped here, in `_said`, from what the service documents ("Azure
Key Vault REST API error codes") and its recorded answers show.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from reconciler.azure.login import AzureLogin, credential_of, missing_extra
from reconciler.core.errors import (
    AccessError,
    ReconcilerError,
    RefusedError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.packages import importing
from reconciler.secrets.found import Found
from reconciler.secrets.scope import Vaults

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.keyvault.secrets import SecretClient

ROLE = "Key Vault Secrets User"
_LONGEST_PAUSE = 5.0
_AADSTS = re.compile(r"\bAADSTS\d+\b")


class KeyVaults:
    """Reads secrets of allowed vaults. Safe to use from many threads.

    Args:
        sleep: Waits some seconds between two attempts.
        monotonic: Seconds that only grow.
    """

    def __init__(
        self,
        vaults: Vaults,
        login: AzureLogin,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vaults = vaults
        self._login = login
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = Lock()
        self._credential: TokenCredential | None = None
        self._clients: dict[str, SecretClient] = {}
        self._throttled: dict[str, float] = {}
        self._silent: dict[str, ReconcilerError] = {}

    def begin(self) -> None:
        """A new look: vaults that did not answer are asked again."""
        with self._lock:
            self._silent.clear()

    def read(self, name: str) -> Found:
        """The secret of a reference's name: `vault/secret`, `vault/secret/version`.

        Raises:
            RefusedError: The vault is not allowed.
            InvalidError: The extra for Azure is not installed, or the settings are not complete.
            TargetError: The vault says no; the class says in which way.
        """
        vault, secret, version = split(name)
        url = self._vaults.url_of(vault)
        if url is None:
            raise RefusedError(f"the operator's settings do not allow key vault {vault} (secrets.keyVault.vaults)")
        client = self._ready(vault, url)
        try:
            return self._ask(client, vault, url, secret, version)
        except (UnavailableError, ThrottledError) as exc:
            with self._lock:
                self._silent[url] = exc
            raise

    def close(self) -> None:
        """Closes connections."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()
        with suppress(AttributeError):
            cast("Any", self._credential).close()

    def _ready(self, vault: str, url: str) -> SecretClient:
        with self._lock:
            if url in self._silent:
                raise _again(self._silent[url])
            left = self._throttled.get(url, 0.0) - self._monotonic()
            if left > 0:
                raise ThrottledError(f"key vault {vault} asked for fewer requests", retry_after=left)
            client = self._clients.get(url)
            if client is None:
                client = self._clients[url] = self._connect(url)
            return client

    def _connect(self, url: str) -> SecretClient:
        try:
            with importing():
                from azure.keyvault.secrets import SecretClient
        except ImportError as exc:
            raise missing_extra(exc) from exc
        if self._credential is None:
            self._credential = credential_of(self._login)
        return SecretClient(
            url,
            self._credential,
            verify_challenge_resource=self._vaults.verify_challenge,
            # Attempts are counted here: the SDK would sleep as long as a server tells it to.
            retry_total=0,
            connection_timeout=self._vaults.timeout,
            read_timeout=self._vaults.timeout,
            **self._login.transport,
        )

    def _ask(self, client: SecretClient, vault: str, url: str, secret: str, version: str) -> Found:
        for attempt in range(1, self._vaults.attempts + 1):
            try:
                answer = client.get_secret(secret, version or None)
            except Exception as exc:  # noqa: BLE001  whatever the SDK raises is mapped, and nothing of it is shown
                error = _said(exc, vault, secret, version)
            else:
                return _found(answer, vault, secret)
            pause = error.retry_after if error.retry_after is not None else min(0.4 * 2**attempt, _LONGEST_PAUSE)
            if isinstance(error, ThrottledError):
                with self._lock:
                    self._throttled[url] = self._monotonic() + pause
            if (
                not isinstance(error, (UnavailableError, ThrottledError))
                or attempt == self._vaults.attempts
                or pause > _LONGEST_PAUSE
            ):
                raise error
            self._sleep(pause)
        raise AssertionError("there is at least one attempt")


def split(name: str) -> tuple[str, str, str]:
    """Vault, secret and version ("" for the newest) of a reference's name."""
    scheme, host = ("https://", name[8:]) if name.startswith("https://") else ("", name)
    parts = [*host.split("/"), ""]
    return scheme + parts[0], parts[1], parts[2]


def _again(error: ReconcilerError) -> ReconcilerError:
    """The same error for another secret of the vault; an exception raised twice would gather tracebacks."""
    if isinstance(error, TargetError):
        return type(error)(error.message, hint=error.hint, retry_after=error.retry_after)
    return type(error)(error.message, hint=error.hint)


def _found(answer: Any, vault: str, secret: str) -> Found:
    if answer.value is None:
        raise TerminalError(f"secret {secret} of key vault {vault} has no value")
    expires, begins = answer.properties.expires_on, answer.properties.not_before
    now = datetime.now(UTC)
    if expires is not None and expires <= now:
        return Found(answer.value, f"secret {secret} of key vault {vault} expired on {expires:%Y-%m-%d}")
    if begins is not None and begins > now:
        return Found(answer.value, f"secret {secret} of key vault {vault} is not valid before {begins:%Y-%m-%d}")
    return Found(answer.value)


def _said(exc: Exception, vault: str, secret: str, version: str) -> TargetError:
    """What the SDK raised as one of our errors. Its texts stay out: they may hold requests and answers."""
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    what = f"key vault {vault}"
    if isinstance(exc, HttpResponseError) and exc.status_code and exc.response is not None and not _of_sign_in(exc):
        return _answered(exc, vault, secret, version)
    if isinstance(exc, (ServiceRequestError, ServiceResponseError)):
        hint = "check the name, the network and, for a certificate of your own, azure.caFile"
        return UnavailableError(f"{what} cannot be reached: {_reason(exc)}", hint=hint)
    if isinstance(exc, ClientAuthenticationError):
        code = _AADSTS.search(str(exc))
        told = f" ({code[0]})" if code else ""
        hint = (
            "check azure.credential and its settings; `az login`, a managed identity or a client secret must be there"
        )
        return AccessError(f"no token for {what} can be had from Microsoft Entra ID{told}", hint=hint)
    if isinstance(exc, ValueError):
        hint = "a private address needs secrets.keyVault.verifyChallenge: false; else somebody else answers there"
        return AccessError(f"{what} asks for a token of another domain than its own", hint=hint)
    if isinstance(exc, AzureError):
        return UnavailableError(f"{what} gave no whole answer ({type(exc).__name__})")
    return TerminalError(f"{what} could not be asked: {type(exc).__name__}")


def _of_sign_in(exc: Any) -> bool:
    """Whether an answer is that of the sign-in endpoint and not of the vault."""
    url = str(getattr(getattr(exc.response, "request", None), "url", ""))
    return "/secrets/" not in url


def _reason(exc: Exception) -> str:
    text = f"{exc} {exc.__cause__ or ''}".lower()
    known = {
        "certificate": "its certificate is not trusted",
        "name or service not known": "there is no host of that name",
        "name resolution": "its name cannot be resolved",
        "failed to resolve": "its name cannot be resolved",
        "refused": "the connection was refused",
        "timed out": "it did not answer in time",
        "timeout": "it did not answer in time",
    }
    return next((words for key, words in known.items() if key in text), type(exc).__name__)


def _answered(exc: Any, vault: str, secret: str, version: str) -> TargetError:
    status = int(exc.status_code)
    what = f"secret {secret}{f' version {version}' if version else ''} of key vault {vault}"
    inner = _inner_code(exc)
    match status:
        case 401:
            hint = "the vault may belong to another tenant: azure.tenantId"
            return AccessError(f"key vault {vault} does not accept our token", hint=hint)
        case 403 if inner == "SecretDisabled":
            return TerminalError(f"{what} is disabled", hint="enable it, or refer to another version")
        case 403 if inner in ("ForbiddenByFirewall", "ForbiddenByConnection", "ForbiddenByNsp"):
            hint = "let this machine's network in, or use the vault's private endpoint"
            return AccessError(f"the firewall of key vault {vault} does not let us in", hint=hint)
        case 403:
            hint = f"assign the role '{ROLE}' on the vault or the secret (or the access policy 'get' for secrets)"
            return AccessError(f"{what} may not be read by our identity", hint=hint)
        case 404:
            return TerminalError(f"there is no {what}", hint="check its name; deleted secrets can be recovered")
        case 429:
            return ThrottledError(f"key vault {vault} asks for fewer requests", retry_after=_retry_after(exc))
        case _ if status >= 500 or status == 408:
            return UnavailableError(f"key vault {vault} answered {status}", retry_after=_retry_after(exc))
        case _:
            return TerminalError(f"key vault {vault} answered {status} when asked for {what}")


def _inner_code(exc: Any) -> str:
    try:
        body: Any = exc.response.json()
        return str(body["error"]["innererror"]["code"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _retry_after(exc: Any) -> float | None:
    text = str(exc.response.headers.get("Retry-After") or "")
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else None
