"""What Azure does with clusters that the contract does not speak of: failures in words, quotas, pools that scale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.change import Action, Change
from reconciler.core.errors import AccessError, BusyError, TargetError, TerminalError
from reconciler.core.resources import Health
from tests.contract.harness import INSTALLATION
from tests.contract.rules.base import only, there
from tests.contract.test_clusters import ClustersFixture
from tests.targets.aks.arm import SUBSCRIPTION

# pytest finds fixtures where they are imported.
from tests.vaults.conftest import certificate as certificate


@pytest.fixture
def azure(certificate: tuple[Path, Path]) -> Iterator[ClustersFixture]:
    """Azure with one empty resource group."""
    fixture = ClustersFixture(certificate)
    yield fixture
    fixture.close()


def test_what_failed_is_told_in_azures_words_and_tried_anew_later(azure: ClustersFixture) -> None:
    """With the code, the message and what helps; the next call asks Azure again instead of telling it twice."""
    azure.arm.instant = False
    bench, desired = azure.bench(), azure.desired()
    create = only(bench.plan([desired]))
    driver = bench.drivers[desired.id.target]
    driver.apply(create)
    assert there(bench, desired).health is Health.PROGRESSING
    azure.arm.fail("QuotaExceeded", "Insufficient regional vcpu quota left for location westeurope.")
    seen = there(bench, desired)
    assert seen.health is Health.DEGRADED
    for words in ("QuotaExceeded", "Insufficient regional vcpu quota", "az vm list-usage"):
        assert words in seen.reason
    with pytest.raises(TerminalError, match="Insufficient regional vcpu quota"):
        driver.apply(create)
    assert len(azure.arm.writes) == 1
    driver.apply(create)
    assert len(azure.arm.writes) == 2
    azure.arm.finish()
    bench.settle([desired])
    assert there(bench, desired).health is Health.HEALTHY


def test_after_a_restart_the_reason_is_where_azure_has_it(azure: ClustersFixture) -> None:
    """The address of the operation is gone with the process; the command that tells is named."""
    azure.arm.instant = False
    bench, desired = azure.bench(), azure.desired()
    bench.drivers[desired.id.target].apply(only(bench.plan([desired])))
    azure.arm.fail("InternalError", "Something.")
    seen = there(azure.bench(), desired)
    assert seen.health is Health.DEGRADED
    assert "az aks show --resource-group ml --name one" in seen.reason


@pytest.mark.parametrize(
    ("status", "code", "error", "helps"),
    [
        (409, "QuotaExceeded", TerminalError, "az vm list-usage"),
        (409, "OperationNotAllowed", TerminalError, "az vm list-usage"),
        (400, "SkuNotAvailable", TerminalError, "az vm list-skus"),
        (400, "LocationNotAvailableForResourceType", TerminalError, "az account list-locations"),
        (403, "AuthorizationFailed", AccessError, "Azure Kubernetes Service Contributor Role"),
        (403, "RequestDisallowedByPolicy", AccessError, "a policy of the subscription"),
        (404, "ResourceGroupNotFound", TargetError, "az group create"),
        (409, "MissingSubscriptionRegistration", TerminalError, "az provider register"),
    ],
)
def test_what_azure_refuses_comes_with_what_helps(
    azure: ClustersFixture, status: int, code: str, error: type[TargetError], helps: str
) -> None:
    """And nothing is begun."""
    bench = azure.bench()
    change = only(bench.plan([azure.desired()]))
    azure.arm.faults = [
        (404, {"error": {"code": "ResourceNotFound"}}),
        (status, {"error": {"code": code, "message": "No."}}),
    ]
    with pytest.raises(error, match=f"{code}: No") as told:
        bench.call(change)
    assert helps in told.value.hint
    assert azure.arm.clusters == {}


def test_an_operation_of_somebody_elses_is_waited_for(azure: ClustersFixture) -> None:
    """Azure takes one at a time."""
    bench, desired = azure.bench(), azure.desired()
    bench.settle([desired])
    change = only(bench.plan([azure.desired(variant="changed")]))
    azure.condition(desired.id, "Upgrading")
    with pytest.raises(BusyError, match="Upgrading"):
        bench.drivers[desired.id.target].apply(change)
    assert there(bench, desired).busy
    azure.condition(desired.id, "Succeeded")
    azure.arm.faults = [(200, azure.cluster(desired.id))]
    told = {"code": "OperationNotAllowed", "message": "Another operation (Updating) is in progress."}
    azure.arm.faults.append((409, {"error": told}))
    with pytest.raises(BusyError, match="in progress"):
        bench.drivers[desired.id.target].apply(change)


def test_a_pool_that_scales_itself_has_as_many_nodes_as_azure_likes(azure: ClustersFixture) -> None:
    """That is no drift; what Git says is noted, and the nodes are left alone."""
    bench, desired = azure.bench(), azure.desired()
    bench.settle([desired])
    pool = azure.cluster(desired.id)["properties"]["agentPoolProfiles"][0]
    pool |= {"enableAutoScaling": True, "minCount": 1, "maxCount": 9, "count": 7}
    made = bench.plan([desired])
    assert (made.empty, made.drift) == (True, ())
    assert "scale themselves" in there(bench, desired).events[0]
    changed = azure.desired(variant="changed")
    bench.settle([changed])
    assert azure.cluster(desired.id)["properties"]["agentPoolProfiles"][0]["count"] == 7
    assert bench.plan([changed]).empty


def test_a_cluster_that_is_to_stay_is_seen_only_where_it_is_named(azure: ClustersFixture) -> None:
    """Whoever forgot it does not come upon it again; one that is to go with its document does, without any record."""
    kept = azure.make_one("kept", deletionPolicy="retain")
    goes = azure.desired("goes")
    bench = azure.bench()
    bench.settle([kept, goes])
    bench.baselines.clear()
    (seen,) = bench.observe().values()
    assert list(seen.resources) == [goes.id]
    assert list(bench.observe([kept.id])[kept.id.target].resources) == [goes.id, kept.id]


@pytest.mark.parametrize("spelled", [f"{SUBSCRIPTION}:ml:one", "ML:One"])
def test_a_cluster_that_is_spelled_otherwise_is_not_there_to_be_deleted(azure: ClustersFixture, spelled: str) -> None:
    """By its resource id, or in other letters, it is still the same to Azure, and not yet ours by that name."""
    bench, before = azure.bench(), azure.desired("one")
    bench.settle([before])
    id_ = before.id._replace(name=spelled)
    found = azure.make_driver().observe([id_, before.id]).resources
    assert list(found) == [id_]
    assert not found[id_].owned_by(INSTALLATION)


def test_nothing_is_asked_of_azure_while_no_target_asks_for_a_cluster(azure: ClustersFixture) -> None:
    """Not even who one is."""
    driver = azure.make_driver()
    assert driver.observe([]).complete
    assert azure.arm.asked == []
    assert azure.azure.sign_ins == []


def test_a_network_is_a_subnet_in_azure_and_read_back_as_it_was_given(azure: ClustersFixture) -> None:
    """By its id, in the cluster's own subscription."""
    network = {"vnetResourcegroupName": "net", "vnetName": "hub", "subnetName": "ml"}
    desired = azure.make_one("one", **network, serviceCidr="10.1.0.0/16", dnsServiceIp="10.1.0.10")
    bench = azure.bench()
    bench.settle([desired])
    (body,) = azure.arm.bodies
    where = body["properties"]["agentPoolProfiles"][0]["vnetSubnetID"]
    assert where.endswith("/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/hub/subnets/ml")
    assert there(bench, desired).spec["subnet"] == "net/hub/ml"
    assert bench.plan([desired]).empty


def test_the_token_goes_nowhere_else(azure: ClustersFixture) -> None:
    """An address that an answer names is only asked if it is Azure's."""
    azure.arm.elsewhere = "https://127.0.0.1:1"
    azure.arm.instant = False
    bench, desired = azure.bench(), azure.desired()
    bench.drivers[desired.id.target].apply(only(bench.plan([desired])))
    azure.arm.fail("InternalError", "Something.")
    asked = len(azure.arm.asked)
    assert "az aks show" in there(bench, desired).reason
    assert len(azure.arm.asked) == asked + 1


def test_another_driver_does_not_delete_what_is_not_its_own(azure: ClustersFixture) -> None:
    """Asked outright, by whatever plan."""
    bench, desired = azure.bench(), azure.desired()
    bench.settle([desired])
    other = azure.make_driver("somebody-else")
    seen = other.observe([desired.id]).resources[desired.id]
    assert seen.owned_by(INSTALLATION)
    with pytest.raises(TargetError, match="not ours"):
        other.apply(Change(desired.id, Action.DELETE, observed=seen))
    assert len(azure.arm.clusters) == 1
