"""From a target with `create` to the cluster that it asks for. Pure: Azure is not asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.dataclass import replace
from reconciler.core.deployment import CLUSTERS_TARGET, Deployment, Target
from reconciler.core.driver import Capabilities
from reconciler.core.problems import Problem, Severity
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.values import Value
from reconciler.core.vm_sizes import spelled, vcpus

KIND = "cluster"
# What clusters take in Azure as a rule: "Quickstart: Deploy an AKS cluster", and the recorded conversation.
_CREATE_SECONDS = 20 * 60.0
_UPDATE_SECONDS = 5 * 60.0
_DELETE_SECONDS = 10 * 60.0
_PLACES = (
    "/location",
    "/vmSize",
    "/agentCount",
    "/subnet",
    "/serviceCidr",
    "/dnsServiceIp",
    "/deletionPolicy",
    "/tags/*",
)


def cluster_of(block: Mapping[str, Any]) -> ResourceId | None:
    """The cluster that a target's settings ask for; None where they attach one, or lead elsewhere.

    Group and name say which, the subscription only where the settings do: else it is the operator's.
    """
    if block.get("create") is None:
        return None
    if block["resourceId"]:
        parts = str(block["resourceId"]).split("/")
        names = [parts[2], parts[4], parts[8]]
    else:
        own = [str(block["subscriptionId"])] if block["subscriptionId"] else []
        names = [*own, str(block["resourceGroup"]), str(block["clusterName"])]
    return ResourceId(CLUSTERS_TARGET, KIND, ":".join(names))


class ClusterRenderer:
    """Implements `core.driver.Renderer`: clusters follow from targets, not from services."""

    @property
    def target(self) -> str:
        """The built-in target of all clusters."""
        return CLUSTERS_TARGET

    @property
    def capabilities(self) -> Capabilities:
        """A cluster takes long, is never made anew in its place, and goes only where somebody said so."""
        return Capabilities(
            kinds=frozenset({KIND}),
            fields=_PLACES,
            immutable=("/location", "/vmSize", "/subnet", "/serviceCidr", "/dnsServiceIp"),
            holds_data=frozenset({KIND}),
            irreplaceable=frozenset({KIND}),
            deadline_seconds=7200.0,
            durations={
                f"{KIND}:create": _CREATE_SECONDS,
                f"{KIND}:update": _UPDATE_SECONDS,
                f"{KIND}:adopt": _UPDATE_SECONDS,
                f"{KIND}:delete": _DELETE_SECONDS,
            },
        )

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """Nothing: `render_targets` does."""
        return ()

    def render_targets(self, targets: Sequence[Target]) -> Sequence[tuple[Target, Desired]]:
        """The cluster of each target that asks for one."""
        return [(target, made) for target in targets if target.type == "aks" and (made := _desired(target)) is not None]


def _desired(target: Target) -> Desired | None:
    id_ = cluster_of(target.block)
    if id_ is None:
        return None
    create: Mapping[str, Any] = target.block["create"]
    size, count = spelled(str(create["vmSize"])), int(create["agentCount"])
    spec: dict[str, Value] = {
        "location": region(str(create["location"])),
        "vmSize": size,
        "agentCount": count,
        "deletionPolicy": str(create["deletionPolicy"]),
    }
    if create["vnetName"] is not None:
        network = [str(create[key]) for key in ("vnetResourcegroupName", "vnetName", "subnetName")]
        spec |= {
            "subnet": "/".join(network),
            "serviceCidr": str(create["serviceCidr"]),
            "dnsServiceIp": str(create["dnsServiceIp"]),
        }
    if create["tags"]:
        spec["tags"] = {str(name): str(value) for name, value in sorted(create["tags"].items())}
    return Desired(
        id_,
        spec,
        policy=replace(target.policy, prune=create["deletionPolicy"] == "delete"),
        summary=f"{count} {'node' if count == 1 else 'nodes'} {size} in {spec['location']}, for target {target.name}",
        warnings=tuple(_warnings(target, size, create)),
        position=target.position,
    )


def _warnings(target: Target, size: str, create: Mapping[str, Any]) -> list[Problem]:
    found: list[Problem] = []

    def say(code: str, message: str, hint: str) -> None:
        found.append(Problem(code, message, target.position, hint, f"Target/{target.name}", Severity.WARNING))

    if target.block["clusterPurpose"] == "FastProd" and vcpus(size) is None:
        message = f"how many vCPUs {size} has is not known here, so that 12 in total for FastProd are not checked"
        say("vm-size-unknown", message, f"`az vm list-sizes --location {region(str(create['location']))}` lists them")
    if create["dockerBridgeCidr"] is not None:
        say("not-used-by-kubernetes", "dockerBridgeCidr is not used: nodes have no Docker", "leave it out")
    return found


def region(text: str) -> str:
    """A region in one spelling: `West Europe` is `westeurope`."""
    return text.replace(" ", "").lower()
