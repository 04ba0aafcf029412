"""Where services go: one block per type of target.

The Azure blocks follow AksCompute.attach_configuration and provisioning_configuration,
AmlCompute.provisioning_configuration and IotHubCompute.attach_configuration of azureml-core 1.61 and
azureml-contrib-iot 1.62; those without a driver are provisional.
"""

from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel as _camel

from reconciler.core.vm_sizes import vcpus
from reconciler.manifests.kinds.base import (
    Name,
    Positive,
    Strict,
    Text,
    refuse,
)
from reconciler.manifests.kinds.names import HTTP_URL
from reconciler.manifests.kinds.secrets import Secret

# Azure writes `resourceGroups` in either case.
_CLUSTER_ID = (
    r"^/subscriptions/[^/]+/resource[Gg]roups/[^/]+/providers/Microsoft\.ContainerService/managedClusters/"
    r"[a-zA-Z0-9]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$"
)


class LocalTarget(Strict):
    """This machine."""

    engine: Literal["auto", "process", "docker"] = Field(
        default="auto", description="What runs services: `auto` is Docker where an engine answers, else processes."
    )
    docker_host: Annotated[str, Field(pattern=r"^(unix|tcp|ssh)://.+$")] | None = Field(
        default=None,
        description="Address of the container engine; that of DOCKER_HOST or the docker command's context if omitted.",
        examples=["unix:///run/user/1000/docker.sock", "tcp://build.example:2376"],
    )
    docker_context: Text | None = Field(default=None, description="Context of the docker command, in place of a host.")
    docker_tls_dir: Text | None = Field(
        default=None, description="Folder of the target machine with `ca.pem`, `cert.pem` and `key.pem` for `tcp://`."
    )

    @model_validator(mode="after")
    def _engine(self) -> "LocalTarget":
        if self.docker_host is not None and self.docker_context is not None:
            raise refuse("excludes", "`dockerHost` and `dockerContext` exclude each other", at=("dockerContext",))
        if self.docker_tls_dir is not None and not (self.docker_host or "").startswith("tcp://"):
            raise refuse("together", "`dockerTlsDir` goes with a `dockerHost` of `tcp://`", at=("dockerTlsDir",))
        return self


class _AzureResource(Strict):
    subscription_id: Text | None = Field(default=None, description="Subscription; the operator's if omitted.")


class AciTarget(_AzureResource):
    """A resource group for container groups (provisional)."""

    resource_group: Text = Field(description="Resource group.", examples=["ml-production"])
    location: Text | None = Field(default=None, description="Region; the resource group's if omitted.")


# azure-mgmt-containerservice 2024-02-01: `dnsServiceIP`, `serviceCidr`.
_IP = r"^\d{1,3}(\.\d{1,3}){3}$"
_CIDR = r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$"
_TAG = r"^[A-Za-z0-9_.-]{1,64}$"
_NETWORK = ("vnet_resourcegroup_name", "vnet_name", "subnet_name", "service_cidr", "dns_service_ip")
FAST_PROD_VCPUS = 12


class AksCluster(Strict):
    """How an AKS cluster is made that is not there yet, as AksCompute.provisioning_configuration has it."""

    agent_count: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Nodes. If the pool is made to scale itself in Azure, the number is Azure's."
    )
    vm_size: Annotated[str, Field(pattern=r"^[Ss][Tt][Aa][Nn][Dd][Aa][Rr][Dd]_[A-Za-z0-9_-]+$")] = Field(
        default="Standard_D3_v2", description="Size of the nodes; cannot be changed."
    )
    location: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9 ]*$", examples=["westeurope"])] = Field(
        description="Region; cannot be changed."
    )
    vnet_resourcegroup_name: Text | None = Field(
        default=None, description="Resource group of the virtual network; the network's settings are given all or none."
    )
    vnet_name: Text | None = Field(default=None, description="Virtual network; cannot be changed.")
    subnet_name: Text | None = Field(default=None, description="Subnet of the nodes; cannot be changed.")
    service_cidr: Annotated[str, Field(pattern=_CIDR)] | None = Field(
        default=None, description="Addresses of the cluster's services; cannot be changed.", examples=["10.0.0.0/16"]
    )
    dns_service_ip: Annotated[str, Field(pattern=_IP)] | None = Field(
        default=None, description="Address of the cluster's DNS, in `serviceCidr`.", examples=["10.0.0.10"]
    )
    docker_bridge_cidr: Annotated[str, Field(pattern=_CIDR)] | None = Field(
        default=None, description="Without effect: nodes of AKS have no Docker any more."
    )
    tags: dict[Annotated[str, Field(pattern=_TAG)], Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict[str, str], description="Tags of the cluster in Azure, beside reconciler's own."
    )
    deletion_policy: Literal["retain", "delete"] = Field(
        default="retain",
        description="What becomes of the cluster once the target is taken out of Git: `retain` leaves it as it is and "
        "forgets it, `delete` deletes it, after somebody has approved that.",
    )

    @model_validator(mode="after")
    def _network(self) -> "AksCluster":
        given = [name for name in _NETWORK if getattr(self, name) is not None]
        if (given or self.docker_bridge_cidr is not None) and len(given) < len(_NETWORK):
            missing = [_camel(name) for name in _NETWORK if name not in given]
            raise refuse(
                "together",
                f"a virtual network needs all of its settings; missing: {', '.join(missing)}",
                hint="give them all, or none",
                at=tuple(_camel(name) for name in given) or ("dockerBridgeCidr",),
            )
        if self.service_cidr is not None and self.dns_service_ip is not None:
            try:
                inside = ip_address(self.dns_service_ip) in ip_network(self.service_cidr)
            except ValueError as error:
                raise refuse("wrong-form", f"not an address: {error}", at=("serviceCidr",)) from error
            if not inside:
                raise refuse("wrong-range", "`dnsServiceIp` is not in `serviceCidr`", at=("dnsServiceIp",))
        if self.tags.keys() & {name for name in self.tags if name.lower().startswith("reconciler-")}:
            raise refuse("wrong-name", "tags that begin with `reconciler-` are reconciler's own", at=("tags",))
        if len(self.tags) > 30 or sum(len(name) + 1 for name in self.tags) > 250:
            raise refuse("wrong-range", "too many tags: at most 30, their names 250 characters together", at=("tags",))
        return self


class AksTarget(_AzureResource):
    """A Kubernetes cluster: any that the operator's kubeconfig leads to, or one of AKS by its resource."""

    kube_context: Text | None = Field(
        default=None,
        description="Context of the operator's kubeconfig; its current one if omitted, or the cluster it runs in.",
        examples=["ml-production"],
    )
    resource_group: Text | None = Field(
        default=None,
        description="Resource group of an AKS cluster, which is looked up in Azure in place of a kubeconfig.",
        examples=["ml-production"],
    )
    # azure-mgmt-containerservice, ManagedClusters: the pattern of `resourceName`.
    cluster_name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]([-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$")] | None = Field(
        default=None, description="The cluster in the resource group.", examples=["scoring"]
    )
    resource_id: Annotated[str, Field(pattern=_CLUSTER_ID)] | None = Field(
        default=None,
        description="Id of the cluster in place of group and name.",
        examples=[
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/ml-production"
            "/providers/Microsoft.ContainerService/managedClusters/scoring"
        ],
    )
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] = Field(
        default="default", description="Namespace that services go to; it has to exist."
    )
    cluster_purpose: Literal["FastProd", "DevTest"] = Field(
        default="FastProd",
        description="As in Azure ML: with `create`, `FastProd` needs 12 vCPUs in total; no other effect.",
    )
    create: AksCluster | None = Field(
        default=None, description="Makes the cluster of that group and name, if it is not there, and keeps it so."
    )
    autoscaler: Literal["cpu", "prometheusAdapter", "keda"] = Field(
        default="cpu",
        description="What services are scaled on: the CPU in use, or requests under way, as Prometheus sees them.",
    )
    prometheus_url: Annotated[str, Field(pattern=HTTP_URL)] | None = Field(
        default=None,
        description="With `autoscaler: keda`: where KEDA asks Prometheus.",
        examples=["http://prometheus.monitoring:9090"],
    )
    load_balancer_type: Literal["PublicIp", "InternalLoadBalancer"] = Field(
        default="PublicIp", description="Of services that a load balancer exposes."
    )
    load_balancer_subnet: Text = Field(default="aks-subnet", description="Subnet of an internal load balancer.")

    @model_validator(mode="after")
    def _one(self) -> "AksTarget":
        named = self.resource_group is not None or self.cluster_name is not None
        if named and (self.resource_group is None or self.cluster_name is None):
            raise refuse("together", "`resourceGroup` and `clusterName` go together")
        if named and self.resource_id is not None:
            raise refuse("excludes", "name one cluster: `resourceGroup` and `clusterName`, or `resourceId`")
        if self.kube_context is not None and (named or self.resource_id is not None):
            raise refuse("excludes", "name a context of the kubeconfig or a cluster in Azure", at=("kubeContext",))
        if (self.autoscaler == "keda") != (self.prometheus_url is not None):
            raise refuse("together", "`autoscaler: keda` and `prometheusUrl` go together", at=("autoscaler",))
        if self.create is not None:
            self._creatable(self.create, named=named or self.resource_id is not None)
        if self.subscription_id is not None and not named:
            raise refuse("together", "`subscriptionId` goes with `resourceGroup`", at=("subscriptionId",))
        return self

    def _creatable(self, create: AksCluster, *, named: bool) -> None:
        if not named:
            raise refuse(
                "together", "`create` needs to know which cluster: `resourceGroup` and `clusterName`", at=("create",)
            )
        each = vcpus(create.vm_size)
        total = each * create.agent_count if each is not None else FAST_PROD_VCPUS
        if self.cluster_purpose == "FastProd" and total < FAST_PROD_VCPUS:
            raise refuse(
                "wrong-range",
                f"{create.agent_count} nodes of {create.vm_size} are {total} vCPUs, and a cluster for FastProd needs "
                f"{FAST_PROD_VCPUS} at least",
                hint="more nodes, a larger size, or `clusterPurpose: DevTest`",
                at=("create",),
            )


class EdgeTarget(_AzureResource):
    """An IoT hub (provisional)."""

    resource_group: Text | None = Field(default=None, description="Resource group.", examples=["ml-production"])
    name: Text = Field(description="Name of the hub.")
    resource_id: Text | None = Field(default=None, description="Id of the hub.")
    connection_string: Secret | None = Field(default=None, description="How to sign in where no identity is used.")


class BatchTarget(_AzureResource):
    """An Azure ML workspace and the cluster that jobs run on (provisional)."""

    resource_group: Text = Field(description="Resource group of the workspace.")
    workspace: Text = Field(description="Workspace.")
    compute: Name | None = Field(default=None, description="Name of the cluster.")
    vm_size: Text = Field(default="Standard_NC6", description="Size of the nodes.")
    vm_priority: Literal["dedicated", "lowpriority"] = Field(default="dedicated", description="Kind of nodes.")
    min_nodes: Annotated[int, Field(ge=0)] = Field(default=0, description="Fewest nodes.")
    max_nodes: Positive = Field(default=4, description="Most nodes.")
    idle_seconds_before_scaledown: Positive = Field(default=1800, description="Seconds after which idle nodes go.")

    @model_validator(mode="after")
    def _order(self) -> "BatchTarget":
        if self.min_nodes > self.max_nodes:
            raise refuse("wrong-range", "`minNodes` is more than `maxNodes`", at=("minNodes",))
        return self
