"""Clusters named by their resource: the real SDK against Azure Resource Manager on the wire, and an API behind it."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.azure.login import AzureLogin, credential_of
from reconciler.core.errors import AccessError, TerminalError, ThrottledError, UnavailableError
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.attached import AKS_SERVER, AttachedCluster, ClusterId, own_part
from reconciler.targets.aks.containerservice import ContainerService
from tests import prefork
from tests.cli.conftest import commit, environment, git
from tests.targets.aks.arm import SUBSCRIPTION, Arm, arm_server
from tests.targets.aks.standin import Fault, Standin
from tests.vaults.azure import CLIENT, CLIENT_SECRET, TENANT, Azure, azure_server

# pytest finds fixtures where they are imported.
from tests.vaults.conftest import certificate as certificate

RECORDING = "azure-contract/aks/recordings/test_aks_create_default_service_msi.json"
PATH = "/api/v1/namespaces/ml/secrets"


@dataclass
class World:
    """Azure, a cluster behind it, and an identity that may use both."""

    azure: Azure
    arm: Arm
    standin: Standin
    login: AzureLogin

    def attached(self, name: str = "scoring", allowed: tuple[str, ...] | None = None) -> AttachedCluster:
        id_ = ClusterId(SUBSCRIPTION, "ml", name)
        login = self.login
        service = ContainerService(lambda: credential_of(login), management=self.arm.url, transport=login.transport)
        return AttachedCluster(id_, service, allowed=allowed)

    def ask(self, attached: AttachedCluster | None = None) -> Any:
        """One request to the cluster's API."""
        cluster = Cluster("production", attached=attached or self.attached())
        try:
            return cluster.call("GET", PATH, "reading")
        finally:
            cluster.close()


@pytest.fixture
def world(certificate: tuple[Path, Path]) -> Iterator[World]:
    """A cluster that is up."""
    with ExitStack() as stack:
        azure = stack.enter_context(azure_server(*certificate))
        arm = stack.enter_context(arm_server(*certificate, azure.tokens))
        standin = Standin("ml")
        stack.callback(standin.close)
        login = AzureLogin(
            "clientSecret", "public", f"localhost:{azure.port}", TENANT, CLIENT, CLIENT_SECRET, certificate[0]
        )
        arm.put("ml", "scoring", standin.kubeconfig)
        yield World(azure, arm, standin, login)


def test_the_server_answers_as_the_service_was_recorded(world: World) -> None:
    """The fake's own test: a cluster is made, changed, asked and deleted as it was with the real service."""
    path = Path(__file__).parents[3].parent / "shared" / RECORDING
    if not path.exists():
        pytest.skip("the recorded conversation is not at hand")
    credential = credential_of(world.login)
    token = credential.get_token(f"{world.arm.url}/.default").token
    credential.close()  # type: ignore[attr-defined]
    operation = ""
    with httpx.Client(verify=ssl.create_default_context(cafile=world.login.ca_file)) as http:
        for interaction in json.loads(path.read_text())["interactions"]:
            request, recorded = interaction["request"], interaction["response"]
            if (recorded.get("body") or {}).get("status") == "Succeeded":
                world.arm.finish()
            url = operation if "/operations/" in request["path"] else f"{world.arm.url}{request['path']}"
            answer = http.request(
                request["method"], url, json=request.get("body"), headers={"Authorization": f"Bearer {token}"}
            )
            assert answer.status_code == recorded["status"], request["path"]
            operation = answer.headers.get("azure-asyncoperation", operation)
            for header in ("azure-asyncoperation", "location"):
                assert (header in answer.headers) == (header in recorded["headers"]), request["path"]
            if isinstance(recorded.get("body"), dict):
                said = answer.json()
                assert set(said) <= set(recorded["body"]), request["path"]
                for key in ("status", "name", "id", "type"):
                    if key in said and "/operations/" not in url:
                        assert said[key] == recorded["body"][key]
                if "properties" in said:
                    state = recorded["body"]["properties"]["provisioningState"]
                    assert said["properties"]["provisioningState"] == state


def test_a_cluster_is_reached_by_what_azure_gives(world: World) -> None:
    """Reading it and listing its user credentials is all that is asked of Azure."""
    assert world.ask()["items"] == []
    assert [line.partition(" ")[0] for line in world.arm.asked] == ["GET", "POST"]
    assert world.arm.asked[1].endswith("/managedClusters/scoring/listClusterUserCredential")


@pytest.mark.parametrize(
    "user",
    [
        {"exec": {"command": "/bin/false", "args": ["get-token", "--server-id", AKS_SERVER, "--login", "devicecode"]}},
        {"exec": {"command": "/bin/false", "args": ["get-token"]}},
        {"auth-provider": {"name": "azure", "config": {"apiserver-id": AKS_SERVER}}},
        {"auth-provider": {"name": "azure"}},
    ],
)
def test_where_kubelogin_would_sign_in_the_identity_does(world: World, user: dict[str, Any]) -> None:
    """Nothing that Azure returns is run: the API gets a token for its own application."""
    config = {**world.standin.kubeconfig, "users": [{"name": "u", "user": user}]}
    world.arm.put("ml", "scoring", config)
    with pytest.raises(AccessError, match="Unauthorized"):
        world.ask()
    world.standin.tokens = world.azure.tokens
    world.standin.application = AKS_SERVER
    assert world.ask()["items"] == []


def test_credentials_that_are_not_good_any_more_are_asked_for_anew(world: World) -> None:
    """A cluster whose certificates were rotated refuses once, and is asked again; a second time it is told."""
    attached = world.attached()
    cluster = Cluster("production", attached=attached)
    cluster.call("GET", PATH, "reading")
    asked = len(world.arm.asked)
    world.standin.faults.append(Fault("GET", 401))
    assert cluster.call("GET", PATH, "reading")["items"] == []
    assert len(world.arm.asked) == asked + 2
    requests = len(world.standin.requests)
    world.standin.faults.append(Fault("GET", 401, times=2))
    with pytest.raises(AccessError):
        cluster.call("GET", PATH, "reading")
    assert len(world.standin.requests) == requests + 2
    assert cluster.call("GET", PATH, "reading")["items"] == []
    cluster.close()


def test_files_and_commands_of_a_kubeconfig_are_left_out(tmp_path: Path) -> None:
    """Else whoever decides about a cluster could have files of this machine read."""
    secret = tmp_path / "secret"
    secret.write_text("c4n4ry")
    user = {"tokenFile": str(secret), "client-key": str(secret), "exec": {"command": "id"}, "client-key-data": "a"}
    server = {"server": "https://x", "certificate-authority": str(secret)}
    config, asked = own_part({"users": [{"name": "u", "user": user}], "clusters": [{"name": "c", "cluster": server}]})
    assert config["users"] == [{"name": "u", "user": {"client-key-data": "a"}}]
    assert config["clusters"] == [{"name": "c", "cluster": {"server": "https://x"}}]
    assert asked == AKS_SERVER


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"powerState": {"code": "Stopped"}}, "is stopped"),
        ({"provisioningState": "Creating"}, "is being made"),
        ({"provisioningState": "Deleting"}, "is being deleted"),
    ],
)
def test_a_cluster_that_cannot_be_asked_yet_is_waited_for(world: World, properties: Any, words: str) -> None:
    """Its services are left as they are meanwhile."""
    world.arm.put("ml", "scoring", world.standin.kubeconfig, **properties)
    with pytest.raises(UnavailableError, match=words):
        world.ask()


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (403, "AuthorizationFailed", AccessError, "AuthorizationFailed"),
        (404, "ResourceGroupNotFound", UnavailableError, "ResourceGroupNotFound"),
        (429, "TooManyRequests", ThrottledError, "429"),
        (500, "InternalServerError", UnavailableError, "500"),
        (400, "BadRequest", TerminalError, "BadRequest"),
    ],
)
def test_what_azure_refuses_is_told(world: World, status: int, code: str, error: type, words: str) -> None:
    """With the class that says how to go on, in Azure's words."""
    world.arm.faults.append((status, {"error": {"code": code, "message": "Because."}}))
    with pytest.raises(error, match=words) as told:
        world.ask()
    assert "AKS cluster ml/scoring" in str(told.value)
    assert "c4n4ry" not in str(told.value)


@pytest.mark.parametrize("kubeconfig", [b"\xff\xfe", b"- a list", b"{", b"a: [", b"users: 3\nclusters: {}\n"])
def test_a_kubeconfig_that_is_none_is_told(world: World, kubeconfig: bytes) -> None:
    """Whatever Azure answers, there is a message."""
    world.arm.put("ml", "scoring", kubeconfig)
    with pytest.raises(UnavailableError, match="kubeconfig"):
        world.ask()


def test_only_clusters_that_the_operator_allows_are_asked_for(world: World) -> None:
    """By group and name or by id, in either case; Azure is not even asked about others."""
    other = (
        f"/subscriptions/{SUBSCRIPTION}/resourcegroups/ML/providers/microsoft.containerservice/managedclusters/Scoring"
    )
    for allowed in ((), ("ml/other",), ("scoring",)):
        with pytest.raises(AccessError, match=r"kubernetes\.clusters|do not allow"):
            world.ask(world.attached(allowed=allowed))
    assert world.arm.asked == []
    for allowed in (("ML/scoring",), (other,)):
        assert world.ask(world.attached(allowed=allowed))


def test_a_wrong_secret_and_a_missing_subscription_are_told(world: World) -> None:
    """Signing in fails in words of ours, without the secret."""
    world.login = replace(world.login, client_secret="c4n4ry-wrong")
    with pytest.raises(AccessError, match="Entra ID") as told:
        world.ask()
    assert "c4n4ry" not in str(told.value)
    attached = world.attached()
    attached.id = replace(attached.id, subscription="")
    with pytest.raises(TerminalError, match="subscription"):
        world.ask(attached)


def test_a_target_names_a_cluster_by_group_or_by_id() -> None:
    """The operator's subscription holds where the target has none."""
    block: dict[str, Any] = dict.fromkeys(("subscriptionId", "resourceGroup", "clusterName", "resourceId"))
    assert ClusterId.of(block, "s") is None
    named = {**block, "resourceGroup": "g", "clusterName": "c"}
    assert ClusterId.of(named, "s") == ClusterId("s", "g", "c")
    assert ClusterId.of({**named, "subscriptionId": "own"}, "s") == ClusterId("own", "g", "c")
    by_id = {**block, "resourceId": ClusterId("x", "g", "c").resource_id}
    assert ClusterId.of(by_id, "s") == ClusterId("x", "g", "c")


SETTINGS = """
azure:
  credential: clientSecret
  tenantId: {tenant}
  clientId: {client}
  clientSecretEnv: SECRET
  authority: localhost:{port}
  caFile: {ca}
  managementUrl: {management}
  subscription: {subscription}
kubernetes: {{clusters: {clusters}}}
"""
FILES = {
    "inference/score.py": "def init(): pass\ndef run(data): return data\n",
    "inference/ready.yaml": "kind: InferenceConfig\nmetadata: {name: ready}\n"
    "spec: {image: example/scorer:1, entryScript: score.py, sourceDirectory: inference}\n",
    "targets/production.yaml": "kind: Target\nmetadata: {name: production}\n"
    "spec: {type: aks, aks: {resourceGroup: ml, clusterName: scoring, namespace: ml}}\n",
    "services/one.yaml": "kind: Service\nmetadata: {name: one}\n"
    "spec: {target: production, models: [], inference: ready}\n",
}


def test_a_target_that_names_a_cluster_is_planned_for(world: World, tmp_path: Path) -> None:
    """The command, with the operator's settings: their subscription and identity, and only clusters that they allow."""
    repo = tmp_path / "repo"
    for path, text in FILES.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(text if path.endswith(".py") else f"apiVersion: reconciler/v1\n{text}")
    git(repo, "init", "--quiet")
    commit(repo)

    def plan(clusters: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "settings.yaml").write_text(
            SETTINGS.format(
                tenant=TENANT, client=CLIENT, port=world.azure.port, ca=world.login.ca_file,
                management=world.arm.url, subscription=SUBSCRIPTION, clusters=clusters,
            )
        )  # fmt: skip
        words = ("plan", "--settings", str(tmp_path / "settings.yaml"))
        return prefork.run("reconciler", words, repo, environment(tmp_path / "state", {"SECRET": CLIENT_SECRET}))

    refused = plan("[ml/other]")
    assert refused.returncode == 12
    assert "do not allow AKS cluster ml/scoring" in refused.stdout
    assert world.arm.asked == []
    planned = plan("[ml/scoring]")
    assert (planned.returncode, "production/ml:one" in planned.stdout) == (0, True), planned.stdout + planned.stderr
    assert any(line.endswith("/managedClusters/scoring/listClusterUserCredential") for line in world.arm.asked)
    assert CLIENT_SECRET not in refused.stdout + refused.stderr + planned.stdout + planned.stderr
