"""Rights: just those that the driver uses, as it uses them; roles that give them; `doctor` on both."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.cli.main import main
from reconciler.core.driver import Access, Right
from reconciler.core.errors import InvalidError, UnavailableError
from reconciler.core.resources import ResourceId
from reconciler.settings import settings_of
from reconciler.targets.aks import access
from reconciler.targets.aks.driver import AksDriver
from reconciler.targets.aks.kinds import KINDS, looked_at
from reconciler.targets.aks.leading import VERBS
from tests.cli.conftest import GIT, commit, git
from tests.contract.harness import Bench
from tests.targets.aks.standin import Standin
from tests.targets.aks.test_driver import add_pod, make, one, wanted

PATH = re.compile(r"/namespaces/ml/(?P<plural>[a-z]+)(/(?P<name>[^/?]+))?(/(?P<below>[a-z]+))?(\?(?P<query>.*))?$")


def asked_for(method: str, path: str) -> set[tuple[str, str]]:
    """The verbs and resources that the API would look for, were it to check a request."""
    found = PATH.search(path)
    assert found is not None, path
    groups = {kind.plural: kind.resource for kind in KINDS.values()}
    resource = groups.get(found["plural"], found["plural"]) + (f"/{found['below']}" if found["below"] else "")
    if found["below"] == "portforward":
        return {("get", resource), ("create", resource)}
    if method == "GET" and not found["name"]:
        return {("watch" if "watch=true" in (found["query"] or "") else "list", resource)}
    verbs = {"GET": {"get"}, "PATCH": {"patch", "create"}, "DELETE": {"delete"}}[method]
    return {(verb, resource) for verb in verbs}


def test_no_right_is_missing_and_none_is_too_much(standin: Standin, tmp_path: Path) -> None:
    """A service comes, is watched, told of, scored, and goes: all that is asked for is allowed, and nothing else is."""
    driver = make(standin, tmp_path)
    objects = wanted({"replicas": 2}, {"expose": "ingress", "cname": "a.example"})
    rights = {(right.verb, right.resource) for right in driver.rights([each.id for each in objects])}
    bench = Bench(driver)
    bench.settle(objects)
    stop = threading.Event()
    listener = threading.Thread(target=list, args=(driver.watch(stop),))
    listener.start()
    with standin.changed:
        assert standin.changed.wait_for(lambda: standin.watching >= len(looked_at(())), timeout=60)
    stop.set()
    listener.join(60)
    assert not listener.is_alive()
    add_pod(standin, "diabetes-abc-11111")
    workload = one(objects, "Deployment").id
    assert list(driver.logs(workload, lines=1, follow=False, stop=stop)) == []
    with pytest.raises(UnavailableError, match="pod diabetes-abc-11111 cannot be reached"):
        driver.address(workload)
    bench.settle([])
    driver.close()
    used = set[tuple[str, str]]().union(*(asked_for(*request) for request in standin.requests))
    assert used - rights == set()
    # No autoscaler is in use here, so that it is looked at, and not written.
    assert rights - used == set()
    assert ("patch", KINDS["HorizontalPodAutoscaler"].resource) not in rights


def test_roles_by_namespace() -> None:
    """Documents that Kubernetes takes; what is in use in one namespace gives no right in another."""
    used = [ResourceId("cluster", "Deployment", "ml:a"), ResourceId("cluster", "Secret", "other:b")]
    text = access.grants(access.rights({"ml"}, used), "serviceaccount:ops:reconciler")
    documents = list(yaml.safe_load_all(text))
    kinds = [(each["kind"], each["metadata"]["namespace"]) for each in documents]
    assert kinds == [("Role", "ml"), ("RoleBinding", "ml"), ("Role", "other"), ("RoleBinding", "other")]
    assert documents[1]["subjects"] == [{"kind": "ServiceAccount", "name": "reconciler", "namespace": "ops"}]
    assert verbs(documents[0], "secrets") == verbs(documents[2], "deployments") == {"list", "watch"}
    assert "patch" in verbs(documents[0], "deployments") & verbs(documents[2], "secrets")
    assert verbs(documents[2], "pods/log") == set()
    assert all("*" not in json.dumps(each) for each in documents)


def verbs(role: Any, resource: str) -> set[str]:
    """What a role allows with a resource."""
    return {verb for rule in role["rules"] if resource in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.parametrize("subject", ["nobody", "user:", "serviceaccount:reconciler", "robot:a", ":"])
def test_nobody_to_bind(subject: str) -> None:
    """What is no subject is refused with what is one."""
    with pytest.raises(InvalidError) as caught:
        access.grants([Right("get", "pods", "ml")], subject)
    assert "serviceaccount:NAMESPACE:NAME" in caught.value.hint


SERVICE = """\
apiVersion: reconciler/v1
kind: Target
metadata: {name: cluster}
spec: {type: aks, aks: {namespace: ml}}
---
apiVersion: reconciler/v1
kind: InferenceConfig
metadata: {name: ready}
spec: {image: "example/ready:1"}
---
apiVersion: reconciler/v1
kind: Service
metadata: {name: diabetes}
spec: {target: cluster, inference: ready, auth: {enabled: false}, deployment: {replicas: 1}}
"""


@pytest.fixture
def repo(standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repo with a service for the cluster; the settings lead there."""
    for name in [name for name in os.environ if name.startswith("RECONCILER_")]:
        monkeypatch.delenv(name)
    for name, value in GIT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "kubeconfig").write_text(json.dumps(standin.kubeconfig))
    monkeypatch.setenv("RECONCILER_KUBERNETES__KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "state"))
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "all.yaml").write_text(SERVICE)
    git(folder, "init", "--quiet")
    commit(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("repo")
def test_doctor_names_what_is_missing(standin: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    """By namespace, verb and resource; roles are printed without asking the cluster."""
    standin.denied = {("patch", "deployments.apps"), ("create", "deployments.apps"), ("create", "pods/portforward")}
    assert main(["doctor", "--target", "cluster"]) == 11
    told = capsys.readouterr().out
    assert "ml: create, patch deployments.apps is not allowed (for changes)" in told
    assert "ml: create pods/portforward is not allowed (for tests and `score`)" in told
    assert "secrets" not in told
    asked = len(standin.requests)
    assert main(["doctor", "--target", "cluster", "--roles", "--bind", "user:somebody"]) == 0
    assert len(standin.requests) == asked
    role, binding = yaml.safe_load_all(capsys.readouterr().out)
    assert {"patch", "create"} <= verbs(role, "deployments")
    assert binding["subjects"][0]["name"] == "somebody"
    standin.denied = set()
    assert main(["doctor", "--target", "cluster", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["checks"]
    assert [check["state"] for check in found if check["name"] == "target cluster"] == ["ok"]
    assert standin.writes == []


def test_agreeing_on_a_leader_is_a_right_too(
    repo: Path, standin: Standin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for and given where the settings name a Lease in the same cluster, in its namespace."""
    monkeypatch.setenv("RECONCILER_KUBERNETES__LEADER_LEASE__NAMESPACE", "ops")
    assert main(["doctor", "--target", "cluster"]) == 11
    assert "ops: get, create, update leases.coordination.k8s.io is not allowed" in capsys.readouterr().out
    standin.namespaces.add("ops")
    assert main(["doctor", "--target", "cluster"]) == 0
    capsys.readouterr()
    assert main(["doctor", "--target", "cluster", "--roles"]) == 0
    _, role = yaml.safe_load_all(capsys.readouterr().out)
    assert role["metadata"]["namespace"] == "ops"
    assert role["rules"] == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]}
    ]
    attached = SERVICE.replace("namespace: ml", "namespace: ml, resourceGroup: elsewhere, clusterName: another")
    (repo / "all.yaml").write_text(attached)
    commit(repo)
    assert main(["doctor", "--target", "cluster", "--roles"]) == 0
    assert "leases" not in capsys.readouterr().out
    (repo / "all.yaml").write_text(SERVICE)
    commit(repo)
    monkeypatch.setenv("RECONCILER_KUBERNETES__LEADER_LEASE__CONTEXT", "another")
    assert main(["doctor", "--target", "cluster", "--roles"]) == 0
    assert "leases" not in capsys.readouterr().out


def test_the_manifest_for_a_cluster_fits_its_settings() -> None:
    """Its settings are ours, and its role is for the Lease that they name."""
    file = Path(__file__).parents[3] / "deploy/kubernetes/reconciler.yaml"
    documents = {document["kind"]: document for document in yaml.safe_load_all(file.read_text())}
    settings = settings_of(yaml.safe_load(documents["ConfigMap"]["data"]["settings.yaml"]))
    lease = settings.kubernetes.leader_lease
    assert documents["Role"]["metadata"]["namespace"] == lease.namespace
    assert verbs(documents["Role"], "leases") == set(VERBS)
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    assert documents["Deployment"]["spec"]["replicas"] > 1
    assert pod["serviceAccountName"] == documents["ServiceAccount"]["metadata"]["name"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.usefixtures("repo")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--target", "clustr"], 10, "did you mean 'cluster'?"),
        (["--roles"], 10, "--roles and --bind speak of a target"),
        (["--target", "cluster", "--bind", "user:a"], 10, "--roles and --bind speak of a target"),
        (["--target", "cluster", "--roles", "--bind", "robot"], 11, "is nobody that a role can be given to"),
    ],
)
def test_wrong_calls(words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that says what to do."""
    assert main(["doctor", *words]) == code
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("repo")
def test_a_cluster_that_does_not_answer(standin: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a check that failed, beside the others."""
    standin.close()
    assert main(["doctor", "--target", "cluster"]) == 11
    assert "does not answer" in capsys.readouterr().out


def test_the_ability_is_there() -> None:
    """By its protocol."""
    assert isinstance(AksDriver.__new__(AksDriver), Access)
