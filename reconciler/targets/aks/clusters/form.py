"""A cluster as Azure has it, and in our normal form: JSON of Azure Resource Manager both ways.

The mark is in tags, and so is what Azure has no field for.

Source: Microsoft.ContainerService/managedClusters, 2024-02-01.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

from reconciler.core.resources import Health, Mark
from reconciler.core.values import Spec, Value, digest
from reconciler.core.vm_sizes import spelled
from reconciler.targets.aks.clusters.render import region

Json = dict[str, Any]
PREFIX = "reconciler-"
_POLICY = PREFIX + "deletion-policy"
_NAMES = PREFIX + "tags"
_COUNT = PREFIX + "agent-count"
_POOL = "agentpool"
# What Azure says and nobody may.
_TOLD = ("id", "name", "type", "systemData")
_TOLD_OF_ALL = (
    "provisioningState", "powerState", "maxAgentPools", "currentKubernetesVersion", "fqdn", "privateFQDN",
    "azurePortalFQDN", "resourceUID", "privateEndpointConnections",
)  # fmt: skip
_TOLD_OF_POOLS = ("provisioningState", "powerState", "currentOrchestratorVersion", "nodeImageVersion")
_BUSY = frozenset(
    (
        "Accepted", "Creating", "Updating", "Deleting", "Upgrading", "Scaling", "Starting", "Stopping", "Migrating",
        "RotatingClusterCertificates", "ReconcilingAddons", "ReconcilingClusterCertificates",
    )
)  # fmt: skip
# What making or changing one comes to.
_OURS = ("Creating", "Updating", "Scaling")


def state_of(cluster: Json) -> str:
    """Its provisioning state, in Azure's word."""
    return str(_properties(cluster).get("provisioningState") or "")


def is_busy(cluster: Json) -> bool:
    """Whether an operation on it is under way."""
    return state_of(cluster) in _BUSY


def is_taken(cluster: Json) -> bool:
    """Whether that is none that could have been asked for here, so that there is nothing but to wait for its end."""
    return is_busy(cluster) and state_of(cluster) not in _OURS


def health_of(cluster: Json) -> tuple[Health, str]:
    """How it is, and why it is not Healthy."""
    state = state_of(cluster)
    power: Any = _properties(cluster).get("powerState") or {}
    if state in _BUSY:
        return Health.PROGRESSING, f"Azure says {state}"
    if state in ("Failed", "Canceled"):
        return Health.DEGRADED, f"Azure says {state}"
    if state != "Succeeded":
        return Health.UNKNOWN, f"Azure says {state or 'nothing of its state'}"
    if power.get("code") == "Stopped":
        return Health.SUSPENDED, "it is stopped: `az aks start` starts it"
    return Health.HEALTHY, ""


def mark_of(cluster: Json) -> Mark | None:
    """Our mark, if it carries one; of which version is told once nothing is under way and nothing failed."""
    tags = _tags(cluster)
    if PREFIX + "installation" not in tags:
        return None
    settled = health_of(cluster)[0] in (Health.HEALTHY, Health.SUSPENDED)
    return Mark(
        installation=tags[PREFIX + "installation"],
        service="",
        revision=tags.get(PREFIX + "revision", ""),
        spec_digest=asked_for(cluster) if settled else "",
        self_ref=tags.get(PREFIX + "self", ""),
        protect=tags.get(PREFIX + "protect") == "true",
    )


def asked_for(cluster: Json) -> str:
    """The digest of the spec that was written last, whether or not it has come about."""
    return _tags(cluster).get(PREFIX + "spec-digest", "")


def retained(cluster: Json) -> bool:
    """Whether it stays where nothing names it any more."""
    return _tags(cluster).get(_POLICY) != "delete"


def scales_itself(cluster: Json) -> bool:
    """Whether Azure decides on the number of nodes."""
    return bool(_pool(cluster).get("enableAutoScaling"))


def spec_of(cluster: Json) -> Spec:
    """What it is, in normal form."""
    tags, pool = _tags(cluster), _pool(cluster)
    network = cast("Json", _properties(cluster).get("networkProfile") or {})
    count: Value = pool.get("count")
    if scales_itself(cluster) and tags.get(_COUNT, "").isdecimal():
        # The number is Azure's now, and what was asked for stands.
        count = int(tags[_COUNT])
    found: dict[str, Value] = {
        "location": region(str(cluster.get("location") or "")),
        "vmSize": spelled(str(pool.get("vmSize") or "")),
        "agentCount": count,
        "deletionPolicy": tags.get(_POLICY),
        "serviceCidr": network.get("serviceCidr"),
        "dnsServiceIp": network.get("dnsServiceIP"),
    }
    if pool.get("vnetSubnetID"):
        parts = str(pool["vnetSubnetID"]).split("/")
        found["subnet"] = "/".join((parts[4], parts[8], parts[10])) if len(parts) == 11 else str(pool["vnetSubnetID"])
    others: dict[str, Value] = {name: value for name, value in sorted(tags.items()) if not name.startswith(PREFIX)}
    if others:
        found["tags"] = others
    return {key: value for key, value in found.items() if value is not None}


def version_of(cluster: Json) -> str:
    """What tells whether it is still the same: Azure has no number for that."""
    return digest(_writable(cluster) | {"state": state_of(cluster)})[:16]


def body_of(spec: Spec, mark: Mark, name: str, subscription: str, there: Json | None) -> Json:
    """What is written: all of it for a new one, what is there with our fields in it for one that is.

    Args:
        there: What stands there; what others set in it stays.
    """
    wanted: Mapping[str, Any] = spec
    body = _writable(there) if there is not None else _new(wanted, name, subscription)
    pool = _pool(body)
    if not scales_itself(body):
        pool["count"] = wanted["agentCount"]
    tags = _tags(body)
    own: Mapping[str, str] = wanted.get("tags") or {}
    gone = {one for one in tags.get(_NAMES, "").split(",") if one and one not in own}
    kept = {name: value for name, value in tags.items() if name not in gone and not name.startswith(PREFIX)}
    body["tags"] = {
        **kept,
        **own,
        PREFIX + "installation": mark.installation,
        PREFIX + "revision": mark.revision,
        PREFIX + "spec-digest": mark.spec_digest,
        PREFIX + "self": mark.self_ref,
        PREFIX + "protect": "true" if mark.protect else "false",
        _POLICY: str(wanted["deletionPolicy"]),
        _COUNT: str(wanted["agentCount"]),
        **({_NAMES: ",".join(own)} if own else {}),
    }
    return body


def same(body: Json, there: Json) -> bool:
    """Whether writing it would change nothing."""
    return body == _writable(there)


def _new(wanted: Mapping[str, Any], name: str, subscription: str) -> Json:
    pool: Json = {
        "name": _POOL,
        "count": wanted["agentCount"],
        "vmSize": wanted["vmSize"],
        "mode": "System",
        "osType": "Linux",
        "type": "VirtualMachineScaleSets",
    }
    # With a policy engine, since services come with NetworkPolicies.
    network: Json = {"networkPlugin": "azure", "networkPolicy": "azure", "loadBalancerSku": "standard"}
    if "subnet" in wanted:
        group, vnet, subnet = str(wanted["subnet"]).split("/")
        place = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network"
        pool["vnetSubnetID"] = f"{place}/virtualNetworks/{vnet}/subnets/{subnet}"
        network |= {"serviceCidr": wanted["serviceCidr"], "dnsServiceIP": wanted["dnsServiceIp"]}
    return {
        "location": wanted["location"],
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "dnsPrefix": name.replace("_", "-").strip("-")[:50],
            "enableRBAC": True,
            "agentPoolProfiles": [pool],
            "networkProfile": network,
        },
    }


def _writable(cluster: Json) -> Json:
    body = {key: value for key, value in copy.deepcopy(cluster).items() if key not in _TOLD}
    properties = _properties(body)
    for key in _TOLD_OF_ALL:
        properties.pop(key, None)
    for pool in _pools(body):
        for key in _TOLD_OF_POOLS:
            pool.pop(key, None)
    return body


def _properties(cluster: Json) -> Json:
    return cast("Json", cluster.get("properties") or {})


def _tags(cluster: Json) -> dict[str, str]:
    return {name: str(value) for name, value in cast("Json", cluster.get("tags") or {}).items()}


def _pools(cluster: Json) -> list[Json]:
    return cast("list[Json]", _properties(cluster).get("agentPoolProfiles") or [])


def _pool(cluster: Json) -> Json:
    """The pool of nodes that is ours to size: that of our name, else the first that the system runs on."""
    pools = _pools(cluster)
    named = [pool for pool in pools if pool.get("name") == _POOL]
    system = [pool for pool in pools if pool.get("mode") == "System"]
    found = [*named, *system, *pools]
    return found[0] if found else {}
