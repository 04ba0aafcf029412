"""Azure's service for AKS clusters: its client, signing in, and what goes wrong. Only here its SDK is imported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reconciler.azure.refusals import Hints, refusal
from reconciler.core.errors import InvalidError, UnavailableError
from reconciler.core.packages import importing

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

# The version of the specification that this keeps to (Microsoft.ContainerService/aks, stable).
API_VERSION = "2024-02-01"


class ContainerService:
    """Azure Resource Manager, as far as clusters go. Safe to use from many threads.

    Args:
        credential: Gives the credential when it is first needed.
        management: Address of Azure Resource Manager.
        transport: What every client of the SDK is made with (`connection_verify`).
        seconds: How long an answer may take.
    """

    def __init__(
        self,
        credential: Callable[[], TokenCredential],
        *,
        management: str,
        transport: Mapping[str, Any],
        seconds: float = 60.0,
    ) -> None:
        self.management = management
        self._credential = credential
        self._transport = transport
        self._seconds = seconds
        self._token: TokenCredential | None = None
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    @contextmanager
    def calls(self, subscription: str, what: str, hints: Hints) -> Generator[Any]:
        """The client of azure-mgmt-containerservice, whose answers are typed in part.

        Args:
            what: What is done, for messages.

        Raises:
            InvalidError: The SDK is not installed. TargetError: Azure refused, of the class that says how to go on.
        """
        try:
            with importing():
                from azure.core.exceptions import AzureError
                from azure.mgmt.containerservice import ContainerServiceClient
        except ImportError as error:
            raise InvalidError(
                "naming AKS clusters needs packages that are not installed here", hint="pip install 'reconciler[aks]'"
            ) from error
        token = self._signed_in()
        with self._lock:
            client = self._clients.get(subscription)
            if client is None:
                client = self._clients[subscription] = ContainerServiceClient(
                    token,
                    subscription,
                    self.management,
                    api_version=API_VERSION,
                    credential_scopes=[f"{self.management}/.default"],
                    # Its pauses could not be cut short: the engine tries again.
                    retry_total=0,
                    connection_timeout=10,
                    read_timeout=self._seconds,
                    **self._transport,
                )
        try:
            yield client
        except AzureError as error:
            raise refusal(error, "Azure", what, hints) from error
        except ValueError as error:
            raise UnavailableError(f"{what}: what Azure answered cannot be used", hint=hints.reach) from error

    def bearer(self, application: str, what: str, hints: Hints) -> str:
        """A token for an application.

        Raises:
            TargetError: None can be had.
        """
        with importing():
            from azure.core.exceptions import AzureError

        try:
            return self._signed_in().get_token(f"{application}/.default").token
        except AzureError as error:
            raise refusal(error, "Microsoft Entra ID", what, hints) from error

    def close(self) -> None:
        """Ends connections and forgets the identity; used again, it signs in anew."""
        with self._lock:
            token, self._token = self._token, None
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()
        close = getattr(token, "close", None)
        if close is not None:
            close()

    def _signed_in(self) -> TokenCredential:
        with self._lock:
            if self._token is None:
                self._token = self._credential()
            return self._token
