"""A plan says beforehand what the API would refuse: asked by a dry run, and not again while nothing changed."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.change import Plan
from reconciler.core.errors import AccessError, ForeignError, TerminalError, UnavailableError
from reconciler.core.resources import Desired
from reconciler.core.secrets import seal
from reconciler.targets.aks.api import Cluster
from reconciler.targets.aks.driver import AksDriver
from reconciler.targets.aks.form import Secrets
from tests import prefork
from tests.cli.conftest import commit, environment, git
from tests.contract.harness import INSTALLATION, Bench
from tests.contract.live_kubernetes import reveal
from tests.targets.aks.samples import IMAGES
from tests.targets.aks.standin import Fault, Standin
from tests.targets.aks.test_attached import FILES
from tests.targets.aks.test_driver import wanted

QUOTA: dict[str, Any] = {
    "kind": "Status",
    "reason": "Forbidden",
    "message": 'deployments.apps "diabetes" is forbidden: exceeded quota: small, requested: count/deployments.apps=1, '
    "used: count/deployments.apps=9, limited: count/deployments.apps=9",
}
RIGHTS: dict[str, Any] = {
    "kind": "Status",
    "reason": "Forbidden",
    "message": 'deployments.apps "diabetes" is forbidden: User "ann" cannot patch resource "deployments" in API group '
    '"apps" in the namespace "ml"',
}


@pytest.fixture
def start(standin: Standin, tmp_path: Path) -> Iterator[Callable[[], AksDriver]]:
    """Makes a driver, as a new process does: all have the same memory on disk."""
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps(standin.kubeconfig))
    made: list[AksDriver] = []

    def start() -> AksDriver:
        cluster = Cluster("cluster", kubeconfig=str(config))
        secrets = Secrets(reveal, lambda text: seal(b"key", text))
        made.append(
            AksDriver("cluster", INSTALLATION, cluster, secrets, IMAGES, "ml", verified=tmp_path / "verified.json")
        )
        return made[-1]

    yield start
    for driver in made:
        driver.close()


def asked(standin: Standin) -> int:
    """How many dry runs there were since last asked."""
    count = sum("dryRun=All" in path for _, path in standin.requests)
    standin.requests.clear()
    return count


def planned(driver: AksDriver, desired: list[Desired] | None = None) -> Plan:
    """The plan for one service."""
    return Bench(driver).plan(desired or wanted())


def test_nothing_is_written_and_what_is_taken_is_not_asked_for_again(
    standin: Standin, start: Callable[[], AksDriver]
) -> None:
    """Not by another process either; what is wanted otherwise is, and it alone."""
    plan = planned(start())
    standin.requests.clear()
    assert start().rehearse(plan.changes) == {}
    assert asked(standin) == len(plan.changes)
    assert (standin.objects, standin.writes) == ({}, [])
    assert start().rehearse(plan.changes) == {}
    assert asked(standin) == 0
    other = planned(start(), wanted({"memoryGb": 3.0}))
    standin.requests.clear()
    assert start().rehearse(other.changes) == {}
    assert asked(standin) == 1


def test_another_cluster_is_asked_itself(standin: Standin, start: Callable[[], AksDriver], tmp_path: Path) -> None:
    """What one has taken says nothing of the one that the same kubeconfig leads to today."""
    plan = planned(start())
    assert start().rehearse(plan.changes) == {}
    other = Standin("ml")
    try:
        (tmp_path / "kubeconfig").write_text(json.dumps(other.kubeconfig))
        assert start().rehearse(plan.changes) == {}
        assert asked(other) == len(plan.changes)
    finally:
        other.close()


def test_what_is_there_otherwise_is_asked_for_again(standin: Standin, start: Callable[[], AksDriver]) -> None:
    """The same wish at another object is another question."""
    driver = start()
    bench = Bench(driver)
    bench.settle(wanted())
    more = wanted({"memoryGb": 3.0})
    plan = bench.plan(more)
    standin.requests.clear()
    changes = list(plan.effective())
    assert [c.id.kind for c in changes] == ["Deployment"]
    assert driver.rehearse(changes) == {}
    assert asked(standin) == 1
    standin.edit(("deployments", "ml", "diabetes"), ("spec", "minReadySeconds"), 3)
    changes = list(bench.plan(more).effective())
    standin.requests.clear()
    assert driver.rehearse(changes) == {}
    assert asked(standin) == 1


def test_a_refusal_is_told_each_time_until_it_is_gone(standin: Standin, start: Callable[[], AksDriver]) -> None:
    """With the API's reason, mapped as an apply would map it."""
    plan = planned(start())
    deployment = [c for c in plan.changes if c.id.kind == "Deployment"]
    for _ in range(2):
        standin.faults.append(Fault("PATCH", 403, body=QUOTA))
        refused = start().rehearse(deployment)
        assert isinstance(refused[deployment[0].id], TerminalError)
        assert "exceeded quota: small" in refused[deployment[0].id].message
    assert start().rehearse(deployment) == {}


def test_what_others_have_is_told_by_name(standin: Standin, start: Callable[[], AksDriver]) -> None:
    """As `apply` would tell it."""
    driver = start()
    bench = Bench(driver)
    bench.settle(wanted())
    changes = list(bench.plan(wanted({"memoryGb": 3.0})).effective())
    limits = ("spec", "template", "spec", "containers", 'k:{"name":"scoring"}', "resources", "requests", "memory")
    standin.edit(("deployments", "ml", "diabetes"), limits, "7Gi", "their-operator")
    refused = driver.rehearse(changes)
    assert isinstance(refused[changes[0].id], ForeignError)
    assert "their-operator" in refused[changes[0].id].message


def test_a_field_that_changed_hands_is_asked_for_again(standin: Standin, start: Callable[[], AksDriver]) -> None:
    """What was taken once is refused as soon as another manager has it, also where its value is as before."""
    driver = start()
    bench = Bench(driver)
    bench.settle(wanted({"replicas": 2}))
    less = wanted({"replicas": 1})
    changes = [c for c in bench.plan(less).effective() if c.id.kind == "Deployment"]
    assert driver.rehearse(changes) == {}
    standin.edit(("deployments", "ml", "diabetes"), ("spec", "replicas"), 2, "kubectl")
    changes = [c for c in bench.plan(less).effective() if c.id.kind == "Deployment"]
    refused = driver.rehearse(changes)
    assert isinstance(refused[changes[0].id], ForeignError)
    assert "kubectl" in refused[changes[0].id].message


def test_who_may_not_ask_is_told_so(standin: Standin, start: Callable[[], AksDriver]) -> None:
    """A cluster that is down is not asked for the rest."""
    plan = planned(start())
    deployment = [c for c in plan.changes if c.id.kind == "Deployment"]
    standin.faults.append(Fault("PATCH", 403, body=RIGHTS))
    assert isinstance(start().rehearse(deployment)[deployment[0].id], AccessError)
    many = [dataclasses.replace(c, id=c.id._replace(name=f"{c.id.name}-{n}")) for n in range(30) for c in deployment]
    standin.requests.clear()
    standin.faults.append(Fault("PATCH", 503, times=1000))
    refused = start().rehearse(many)
    assert len(refused) == 30
    assert all(isinstance(error, UnavailableError) for error in refused.values())
    assert asked(standin) <= 16


def test_a_plan_says_what_would_be_refused_and_stands(standin: Standin, tmp_path: Path) -> None:
    """The command: a warning with the API's reason, the same digest, exit code 0; nothing is written there."""
    repo = tmp_path / "repo"
    target = "kind: Target\nmetadata: {name: production}\nspec: {type: aks, aks: {namespace: ml}}\n"
    for path, text in {**FILES, "targets/production.yaml": target}.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text(text if path.endswith(".py") else f"apiVersion: reconciler/v1\n{text}")
    git(repo, "init", "--quiet")
    commit(repo)
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps(standin.kubeconfig))

    def plan() -> str:
        done = prefork.run("reconciler", ("plan",), repo, environment(tmp_path / "state", {"KUBECONFIG": str(config)}))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    standin.faults.append(Fault("PATCH", 403, body=QUOTA))
    refused = plan()
    assert "[would-be-refused]" in refused
    assert "exceeded quota: small" in refused
    assert "raise the quota 'small'" in refused
    standin.faults.append(Fault("PATCH", 403, body=RIGHTS))
    unknown = plan()
    assert "could not be asked whether it takes 1 of 6 changes" in unknown
    assert "ann needs the verb 'patch' on deployments.apps --namespace ml" in unknown
    standin.requests.clear()
    good = plan()
    assert asked(standin) == 1
    assert not {"would-be-refused", "not-verified"} & set(re.findall(r"\[([a-z-]+)\]", good))
    digests = {
        next(line for line in text.splitlines() if line.startswith("Digest")) for text in (refused, unknown, good)
    }
    assert len(digests) == 1
    assert standin.writes == []
