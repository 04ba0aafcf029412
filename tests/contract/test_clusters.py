"""The contract over AKS clusters: the real SDK, and Azure Resource Manager on the wire over HTTPS."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reconciler.azure.login import AzureLogin, credential_of
from reconciler.azure.refusals import MissingError
from reconciler.core.deployment import Target
from reconciler.core.errors import (
    AccessError,
    ConflictError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.resources import Desired, Health, ResourceId
from reconciler.manifests.defaults import CLUSTER_BLOCK, TARGET_BLOCKS
from reconciler.targets.aks.clusters.render import ClusterRenderer
from reconciler.targets.aks.containerservice import ContainerService
from tests.targets.aks.arm import SUBSCRIPTION, Trouble, arm_server
from tests.vaults.azure import CLIENT, CLIENT_SECRET, TENANT, azure_server

from .harness import INSTALLATION
from .mortal import MortalClusters, MortalFixture
from .rules import Contract

# pytest finds fixtures where they are imported.
from tests.vaults.conftest import certificate as certificate  # isort: skip

GROUP = "ml"
CLASSES: dict[str, type[TargetError]] = {
    "401": AccessError,
    "403": AccessError,
    "404": MissingError,
    "409": TerminalError,
    "412": ConflictError,
    "429": ThrottledError,
}
STATES = {
    "Succeeded": Health.HEALTHY,
    "Creating": Health.PROGRESSING,
    "Upgrading": Health.PROGRESSING,
    "Deleting": Health.PROGRESSING,
    "Failed": Health.DEGRADED,
    "Canceled": Health.DEGRADED,
    "Thinking": Health.UNKNOWN,
}


class ClustersFixture(MortalFixture):
    """Clusters of one resource group; operations end at once, unless they are told to take their time."""

    states = tuple(STATES)
    cannot: ClassVar[dict[str, str]] = {
        "describable": "a cluster is no service; a target attaches one that is there",
        "immutable": "a cluster is never replaced: such a change is refused (tests/core/test_rails.py)",
        "move": "a cluster belongs to no service",
        "secret": "a cluster is made without secrets",
        "staged": "a cluster is not staged",
    }

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.azure = self.stack.enter_context(azure_server(*certificate))
        self.arm = self.stack.enter_context(arm_server(*certificate, self.azure.tokens))
        self.arm.instant = True
        self.login = AzureLogin(
            "clientSecret", "public", f"localhost:{self.azure.port}", TENANT, CLIENT, CLIENT_SECRET, certificate[0]
        )
        self.looks = 0

    def make_driver(self, installation: str = INSTALLATION) -> MortalClusters:
        login = self.login
        service = ContainerService(
            lambda: credential_of(login), management=self.arm.url, transport=login.transport, seconds=0.5
        )
        driver = MortalClusters(lambda: service, installation, SUBSCRIPTION)
        return self.made(driver)

    def make_one(self, name: str, **create: Any) -> Desired:
        """What a target asks for whose `create` says so."""
        made = {**CLUSTER_BLOCK, "location": "westeurope", "deletionPolicy": "delete", **create}
        block = {**TARGET_BLOCKS["aks"], "resourceGroup": GROUP, "clusterName": name, "create": made}
        ((_, desired),) = ClusterRenderer().render_targets([Target("production", "aks", block)])
        return desired

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        variants: dict[str, dict[str, Any]] = {"": {}, "changed": {"agentCount": 4}, "more": {"tags": {"team": "ml"}}}
        return self.make_one(name, **variants[variant])

    def awkward(self, name: str) -> Desired:
        return self.make_one(name, location="West Europe", vmSize="STANDARD_ds3_V2", tags={"z": "1", "a": "2"})

    def invalid(self, name: str) -> Desired:
        self.arm.trouble.append(Trouble(("PUT",), 400))
        return self.make_one(name, vmSize="Standard_Nobody1")

    def writes(self) -> int:
        return len(self.arm.writes)

    def pause(self) -> None:
        self.looks += 1
        if self.looks % 3 == 0:
            self.arm.finish()

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
        self.stack.close()

    def cluster(self, id_: ResourceId) -> dict[str, Any]:
        """It as Azure has it, to be changed by hand."""
        return self.arm.clusters[self._key(id_.name.rpartition(":")[2])]

    def _key(self, name: str) -> str:
        group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.ContainerService"
        return f"{group}/managedClusters/{name}".lower()

    def edit(self, id_: ResourceId) -> str:
        self.cluster(id_)["properties"]["agentPoolProfiles"][0]["count"] = 9
        return "/agentCount"

    def edit_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        self.cluster(id_)["tags"]["theirs"] = "1"
        return lambda: self.cluster(id_)["tags"].get("theirs") == "1"

    def touch(self, id_: ResourceId) -> None:
        self.edit_foreign(id_)

    def remove(self, id_: ResourceId) -> None:
        del self.arm.clusters[self._key(id_.name.rpartition(":")[2])]

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        pool = {"name": "nodes", "count": 5, "vmSize": "Standard_D3_v2", "mode": "System"}
        self.arm.put(GROUP, id_.name.rpartition(":")[2], {}, agentPoolProfiles=[pool])
        self.cluster(id_)["location"] = "westeurope"
        before = copy.deepcopy(self.cluster(id_))
        return lambda: self.cluster(id_) == before

    def copy(self, id_: ResourceId) -> ResourceId:
        twin = id_._replace(name=f"{id_.name}-copy")
        name = twin.name.rpartition(":")[2]
        self.arm.clusters[self._key(name)] = {**copy.deepcopy(self.cluster(id_)), "name": name}
        return twin

    def condition(self, id_: ResourceId, state: str) -> Health:
        self.cluster(id_)["properties"]["provisioningState"] = state
        return STATES[state]

    def down(self) -> None:
        self.arm.trouble.append(Trouble(("GET", "PUT", "DELETE"), 0, times=99))

    def fail_second_page(self) -> None:
        self.arm.page = 2
        self.arm.trouble = [Trouble(("GET",), 500, words="skiptoken")]

    def slow(self) -> None:
        self.arm.instant = False

    def slow_delete(self) -> None:
        self.arm.instant = False

    def fail(self, failure: str, when: str = "before", times: int = 1) -> type[TargetError]:
        status = {"timeout": -1, "broken": 0}.get(failure)
        status = int(failure) if status is None else status
        self.arm.trouble = [Trouble(("PUT",), status, when == "after", times)]
        return CLASSES.get(failure, UnavailableError)


class TestClusters(Contract):
    """Clusters in Azure."""

    fixture = ClustersFixture

    @pytest.fixture(autouse=True)
    def _certificate(self, certificate: tuple[Path, Path]) -> None:
        self.certificate = certificate

    def make(self, tmp_path: Path) -> ClustersFixture:
        return ClustersFixture(self.certificate)
