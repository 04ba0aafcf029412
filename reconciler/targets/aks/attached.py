"""An AKS cluster named by its resource: what is asked of Azure to reach its API, through azure-mgmt-containerservice.

Attaching needs two permissions, reading the cluster and listing its user credentials, which the role "Azure Kubernetes
Service Cluster User Role" has. Nothing is written to Azure, and nothing that Azure returns is run: where a kubeconfig
would have kubelogin sign in, the token is asked for here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import yaml

from reconciler.azure.refusals import Hints, MissingError
from reconciler.core.errors import AccessError, TerminalError, UnavailableError
from reconciler.targets.aks.containerservice import ContainerService

# The application that the API servers of all AKS clusters with Entra ID take tokens of: kubelogin, "server-id".
AKS_SERVER = "6dae42f8-4368-4678-94ff-3960e28e3630"
_ID = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.ContainerService/managedClusters/([^/]+)",
    re.IGNORECASE,
)
_OF_USER = ("token", "client-certificate-data", "client-key-data")
_OF_CLUSTER = ("server", "certificate-authority-data", "tls-server-name", "proxy-url")
_HINTS = Hints(
    role="the identity needs the role `Azure Kubernetes Service Cluster User Role` at the cluster",
    missing="check subscription, resource group and name: `az aks list --output table`",
)


@dataclass(frozen=True, slots=True)
class ClusterId:
    """Which cluster.

    Args:
        subscription: Id of the subscription; "" where the settings are to say it.
    """

    subscription: str
    group: str
    name: str

    @classmethod
    def of(cls, block: Mapping[str, Any], subscription: str) -> ClusterId | None:
        """The cluster that a target names; None if it names none.

        Args:
            block: The target's settings.
            subscription: The operator's, for a target that has none.
        """
        if block["resourceId"]:
            found = _ID.fullmatch(str(block["resourceId"]))
            return cls(found[1], found[2], found[3]) if found is not None else None
        if not block["resourceGroup"]:
            return None
        return cls(str(block["subscriptionId"] or subscription), str(block["resourceGroup"]), str(block["clusterName"]))

    def listed(self, allowed: tuple[str, ...]) -> bool:
        """Whether it is among clusters that the operator allows, each a `group/name` or a resource id."""
        names = {f"{self.group}/{self.name}".lower(), self.resource_id.lower()}
        return any(one.rstrip("/").lower() in names for one in allowed)

    @property
    def resource_id(self) -> str:
        """As Azure Resource Manager has it."""
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        return f"{group}/providers/Microsoft.ContainerService/managedClusters/{self.name}"

    def __str__(self) -> str:
        return f"AKS cluster {self.group}/{self.name}"


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """How a cluster's API is reached.

    Args:
        kubeconfig: Without anything to be run.
        token: Gives the bearer token, asked for anew when it is about to expire; None where the kubeconfig has what it
            takes.
    """

    kubeconfig: Mapping[str, Any]
    token: Callable[[], str] | None


class AbsentError(UnavailableError):
    """A cluster that is made here is not there: nothing can be on it."""


class AttachedCluster:
    """Asks Azure for one cluster. Safe to use from many threads.

    Args:
        allowed: Clusters that may be used; None for all.
        made: It is made here: while there is none of its name, nothing is on it.
    """

    def __init__(
        self, id_: ClusterId, service: ContainerService, *, allowed: tuple[str, ...] | None = None, made: bool = False
    ) -> None:
        self.id = id_
        self._service = service
        self._allowed = allowed
        self._made = made

    def access(self) -> ClusterAccess:
        """How its API is reached now.

        Raises:
            AccessError: The operator or Azure does not allow it. MissingError: There is no such cluster.
            UnavailableError: It is stopped, not made yet, or Azure does not answer. TargetError: Any other refusal.
        """
        permitted(self.id, self._allowed)
        try:
            with self._service.calls(self.id.subscription, f"looking up {self.id}", _HINTS) as client:
                cluster = client.managed_clusters.get(self.id.group, self.id.name)
                _usable(self.id, cluster)
                found = client.managed_clusters.list_cluster_user_credentials(
                    self.id.group, self.id.name, format="exec"
                )
        except MissingError as error:
            # What is not there today may be there tomorrow: services on it are left alone meanwhile.
            kind = AbsentError if self._made and error.missing == "ResourceNotFound" else UnavailableError
            raise kind(error.message, hint=error.hint) from error
        configs: list[Any] = list(found.kubeconfigs or [])
        if not configs or not configs[0].value:
            raise UnavailableError(f"Azure gives no credentials of {self.id}", hint=_HINTS.role)
        try:
            parsed: object = yaml.safe_load(bytes(configs[0].value))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UnavailableError(f"the kubeconfig that Azure gives of {self.id} cannot be read") from error
        if not isinstance(parsed, dict):
            raise UnavailableError(f"the kubeconfig that Azure gives of {self.id} cannot be read")
        kubeconfig, server = own_part(cast("dict[str, Any]", parsed))
        return ClusterAccess(kubeconfig, (lambda: self._bearer(server)) if server else None)

    def close(self) -> None:
        """Forgets the identity; used again, it signs in anew."""
        self._service.close()

    def _bearer(self, server: str) -> str:
        return self._service.bearer(server, f"signing in to {self.id}", _HINTS)


def permitted(id_: ClusterId, allowed: tuple[str, ...] | None) -> None:
    """Whether the operator lets manifests name a cluster, and it is known where it is.

    Args:
        allowed: Clusters that may be used; None for all.

    Raises:
        AccessError: The operator does not. TerminalError: Nothing says in which subscription it is.
    """
    if allowed is not None and not id_.listed(allowed):
        listed = ", ".join(allowed) or "none"
        raise AccessError(
            f"the operator's settings do not allow {id_}", hint=f"allowed: {listed} (kubernetes.clusters)"
        )
    if not id_.subscription:
        raise TerminalError(
            f"nothing says in which subscription {id_} is, neither `subscriptionId` nor azure.subscription",
            hint="set azure.subscription in the operator's settings, or `subscriptionId` of the target",
        )


def own_part(kubeconfig: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """What a kubeconfig itself says, and the application whose tokens its API takes; "" where it needs none.

    Left out is what would have something run or read here: commands, providers, files.

    Source: kubelogin, "kubelogin get-token" (`--server-id`); Kubernetes, "client-go credential plugins".
    """
    server = ""
    users: list[Any] = []
    for entry in cast("list[dict[str, Any]]", kubeconfig.get("users") or []):
        user = cast("dict[str, Any]", entry.get("user") or {})
        command = cast("dict[str, Any] | None", user.get("exec"))
        provider = cast("dict[str, Any] | None", user.get("auth-provider"))
        if command is not None:
            words = [*cast("list[str]", command.get("args") or []), "--server-id", AKS_SERVER]
            server = words[words.index("--server-id") + 1]
        elif provider is not None:
            server = str(cast("dict[str, Any]", provider.get("config") or {}).get("apiserver-id") or AKS_SERVER)
        users.append({**entry, "user": {key: user[key] for key in _OF_USER if key in user}})
    clusters = [
        {**entry, "cluster": {key: entry["cluster"][key] for key in _OF_CLUSTER if key in entry["cluster"]}}
        for entry in cast("list[dict[str, Any]]", kubeconfig.get("clusters") or [])
    ]
    return {**kubeconfig, "users": users, "clusters": clusters}, server


def _usable(id_: ClusterId, cluster: Any) -> None:
    """Whether there is an API to ask."""
    state = str(cluster.provisioning_state or "")
    power: Any = cluster.power_state.code if cluster.power_state is not None else ""
    if str(getattr(power, "value", power)) == "Stopped":
        start = f"az aks start --resource-group {id_.group} --name {id_.name}"
        raise UnavailableError(f"{id_} is stopped", hint=f"`{start}`")
    if state in ("Creating", "Deleting"):
        raise UnavailableError(f"{id_} is {'being made' if state == 'Creating' else 'being deleted'}")
