"""Signing in to Microsoft Entra ID, as the operator's settings say; the SDK is loaded when it is first needed.

Credentials that only make sense on a developer's desktop (browser, editors, PowerShell, token caches) are never tried:
whose identity was used must not depend on who happened to be signed in.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.core.errors import InvalidError
from reconciler.core.packages import importing

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

# azure.identity.AzureAuthorityHosts (azure-identity 1.27); suffixes of Key Vault: "Azure Key Vault basic concepts".
AUTHORITIES: Mapping[str, str] = {
    "public": "login.microsoftonline.com",
    "china": "login.chinacloudapi.cn",
    "usGovernment": "login.microsoftonline.us",
}
VAULT_SUFFIXES: Mapping[str, str] = {
    "public": "vault.azure.net",
    "china": "vault.azure.cn",
    "usGovernment": "vault.usgovcloudapi.net",
}
# "az cloud show", suffixes.acrLoginServerEndpoint and endpoints.resourceManager.
REGISTRY_SUFFIXES: Mapping[str, str] = {"public": "azurecr.io", "china": "azurecr.cn", "usGovernment": "azurecr.us"}
MANAGEMENT: Mapping[str, str] = {
    "public": "https://management.azure.com",
    "china": "https://management.chinacloudapi.cn",
    "usGovernment": "https://management.usgovcloudapi.net",
}

# azidentity of the SDK for Go, "Environment variables"; IDENTITY_*: managed identities outside of virtual machines.
_PASSED_ON = (
    "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "SSL_CERT_FILE", "SSL_CERT_DIR", "https_proxy", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AzureLogin:
    """Whose identity to use.

    Args:
        credential: `auto`, `environment`, `managedIdentity`, `workloadIdentity`, `clientSecret` or `azureCli`.
        authority: Host of the sign-in endpoint; empty for that of the cloud.
        client_secret: Only for `clientSecret`.
        ca_file: Certificates to trust, PEM; None for the usual ones.
        management_url: Address of Azure Resource Manager; empty for that of the cloud.
    """

    credential: str = "auto"
    cloud: str = "public"
    authority: str = ""
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    ca_file: Path | None = None
    management_url: str = ""

    @property
    def host(self) -> str:
        """Of the sign-in endpoint."""
        return self.authority or AUTHORITIES[self.cloud]

    @property
    def management(self) -> str:
        """Address of Azure Resource Manager, without a slash at its end."""
        return self.management_url.rstrip("/") or MANAGEMENT[self.cloud]

    @property
    def transport(self) -> dict[str, Any]:
        """What every client of the SDK is made with."""
        return {"connection_verify": str(self.ca_file)} if self.ca_file is not None else {}

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The same for a program that signs in by itself, as variables; what the settings leave open is passed on."""
        found = {name: environment[name] for name in _PASSED_ON if name in environment}
        own = {
            "AZURE_AUTHORITY_HOST": f"https://{self.host}/",
            "AZURE_TENANT_ID": self.tenant_id,
            "AZURE_CLIENT_ID": self.client_id,
            "AZURE_CLIENT_SECRET": self.client_secret,
            "SSL_CERT_FILE": str(self.ca_file) if self.ca_file is not None else "",
        }
        return found | {name: value for name, value in own.items() if value}


def missing_extra(error: ImportError) -> InvalidError:
    """The error of somebody who asks for Azure without having it installed."""
    module = (error.name or "azure").removeprefix("azure.")
    return InvalidError(
        f"Azure support is not installed here (azure.{module} cannot be imported)",
        hint="pip install 'reconciler[azure]'",
    )


def credential_of(login: AzureLogin) -> TokenCredential:
    """The credential; nothing is asked of the network yet.

    Raises:
        InvalidError: The SDK is not installed, or settings that belong together are not.
    """
    try:
        with importing():
            import azure.identity as identity
    except ImportError as exc:
        raise missing_extra(exc) from exc
    # Without a handler Python itself would print the SDK's warnings; errors reach us as exceptions.
    for name in ("azure", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    common: dict[str, Any] = {"authority": f"https://{login.host}", "disable_instance_discovery": bool(login.authority)}
    common |= login.transport
    own = {key: value for key, value in (("tenant_id", login.tenant_id), ("client_id", login.client_id)) if value}
    try:
        match login.credential:
            case "managedIdentity":
                by_id = {"client_id": login.client_id} if login.client_id else {}
                return identity.ManagedIdentityCredential(**by_id, **login.transport)
            case "workloadIdentity":
                return identity.WorkloadIdentityCredential(**own, **common)
            case "clientSecret":
                return identity.ClientSecretCredential(login.tenant_id, login.client_id, login.client_secret, **common)
            case "environment":
                return identity.EnvironmentCredential(**common)
            case "azureCli":
                return identity.AzureCliCredential(tenant_id=login.tenant_id)
            case _:
                return _chain(identity, login, common)
    except ValueError as exc:
        raise InvalidError(
            f"the settings for signing in to Azure by {login.credential} are not complete: azure.tenantId, "
            "azure.clientId, and a client secret or token file where it needs one",
            hint="see docs/secrets.md",
        ) from exc


def _chain(identity: Any, login: AzureLogin, common: dict[str, Any]) -> TokenCredential:
    ids = {"managed_identity_client_id": login.client_id} if login.client_id else {}
    ids |= {"workload_identity_tenant_id": login.tenant_id} if login.tenant_id else {}
    return identity.DefaultAzureCredential(
        exclude_powershell_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_developer_cli_credential=True,
        exclude_shared_token_cache_credential=True,
        exclude_interactive_browser_credential=True,
        exclude_broker_credential=True,
        **ids,
        **common,
    )
