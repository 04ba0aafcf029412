"""Clusters that a target asks for, by the command: made first, kept, drifted, and deleted only where that was said."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import prefork
from tests.cli.conftest import commit, environment, git
from tests.targets.aks.arm import SUBSCRIPTION

# pytest finds fixtures where they are imported.
from tests.targets.aks.test_attached import FILES, SETTINGS, World
from tests.targets.aks.test_attached import world as world
from tests.vaults.azure import CLIENT, CLIENT_SECRET, TENANT
from tests.vaults.conftest import certificate as certificate

TARGET = """kind: Target
metadata: {name: production}
spec:
  type: aks
  aks:
    resourceGroup: ml
    clusterName: made
    namespace: ml
    create: {location: westeurope%s}
"""


@dataclass
class Repo:
    """A manifest repo, and the command in it with an identity that Azure knows."""

    folder: Path
    world: World

    def write(self, files: Mapping[str, str | None]) -> None:
        """Writes files, and commits; None takes one away."""
        for path, text in files.items():
            file = self.folder / "repo" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                file.unlink()
            else:
                file.write_text(text if path.endswith(".py") else f"apiVersion: reconciler/v1\n{text}")
        commit(self.folder / "repo")

    def run(self, *words: str, code: int = 0) -> str:
        """What the command says; it ends with a code."""
        done: subprocess.CompletedProcess[str] = prefork.run(
            "reconciler",
            (*words, "--settings", str(self.folder / "settings.yaml")),
            self.folder / "repo",
            environment(self.folder / "state", {"SECRET": CLIENT_SECRET}),
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert CLIENT_SECRET not in said
        return said


@pytest.fixture
def repo(world: World, tmp_path: Path) -> Repo:
    """A service on a cluster that is not there yet."""
    (tmp_path / "settings.yaml").write_text(
        SETTINGS.format(
            tenant=TENANT, client=CLIENT, port=world.azure.port, ca=world.login.ca_file,
            management=world.arm.url, subscription=SUBSCRIPTION, clusters="[ml/made]",
        )
    )  # fmt: skip
    world.arm.put("ml", "made", world.standin.kubeconfig)
    world.arm.clusters.clear()
    world.arm.instant = True
    made = Repo(tmp_path, world)
    (tmp_path / "repo").mkdir()
    git(tmp_path / "repo", "init", "--quiet")
    made.write({**FILES, "targets/production.yaml": TARGET % ""})
    return made


def test_a_cluster_is_made_before_what_goes_on_it(repo: Repo) -> None:
    """One plan, one apply: the cluster with its time, then the service; a hand edit of Azure is drift afterwards."""
    arm = repo.world.arm
    planned = repo.run("plan")
    assert "+ cluster  ml:made  3 nodes Standard_D3_v2 in westeurope, for target production" in planned
    assert "+ Deployment  production/ml:one" in planned
    assert "create of a cluster takes about 20 minutes" in planned
    assert "not-verified" not in planned
    assert arm.writes == []
    applied = repo.run("apply", "--yes")
    assert applied.index("+ ml:made  done") < applied.index("+ Deployment production/ml:one  done")
    (body,) = arm.bodies
    (pool,) = body["properties"]["agentPoolProfiles"]
    assert (body["location"], pool["count"], pool["vmSize"]) == ("westeurope", 3, "Standard_D3_v2")
    (cluster,) = arm.clusters.values()
    cluster["properties"]["agentPoolProfiles"][0]["count"] = 9
    drifted = repo.run("drift", "--detailed-exitcode", code=3)
    assert "/agentCount" in drifted
    assert drifted.count("/agentCount") == drifted.count("cluster")
    assert len(arm.writes) == 1


@pytest.mark.long
def test_a_cluster_goes_only_where_that_was_said_and_approved(repo: Repo) -> None:
    """By default it is forgotten with its target; with `deletionPolicy: delete` somebody has to approve."""
    arm = repo.world.arm
    repo.run("apply", "--yes")
    gone = {"targets/production.yaml": None, "services/one.yaml": None}
    back = {**FILES, "targets/production.yaml": TARGET % ""}
    repo.write(gone)
    planned = repo.run("plan")
    assert "« cluster  ml:made" in planned
    assert "it stays where it is" in planned
    repo.run("apply", "--yes")
    assert "Nothing to do" in repo.run("plan")
    assert len(arm.clusters) == 1
    assert arm.writes[1:] == []

    repo.write({**back, "targets/production.yaml": TARGET % ", deletionPolicy: delete"})
    repo.run("apply", "--yes")
    repo.write(gone)
    refused = repo.run("apply", "--yes", code=13)
    assert "[deletes-for-good]" in refused
    assert len(arm.clusters) == 1
    words = next(line.split() for line in refused.splitlines() if "reconciler approve" in line)
    repo.run("approve", words[words.index("approve") + 1])
    repo.run("apply", "--yes")
    assert arm.clusters == {}


@pytest.mark.long
def test_what_cannot_be_changed_is_refused_and_what_can_is(repo: Repo) -> None:
    """A cluster is not replaced to have another size; nodes are added where they are."""
    arm = repo.world.arm
    repo.run("apply", "--yes")
    repo.write({"targets/production.yaml": TARGET % ", vmSize: Standard_D4s_v3"})
    refused = repo.run("plan", code=0)
    assert "[irreplaceable]" in refused
    assert "/vmSize" in refused
    print(refused)
    assert "targets/production.yaml:1:1, below spec" in refused
    repo.run("apply", "--yes", code=13)
    assert len(arm.writes) == 1
    repo.write({"targets/production.yaml": TARGET % ", agentCount: 4"})
    repo.run("apply", "--yes")
    assert arm.bodies[1]["properties"]["agentPoolProfiles"][0]["count"] == 4
    assert arm.bodies[1]["tags"].keys() == arm.bodies[0]["tags"].keys()


def test_what_a_cluster_cannot_be_is_said_at_its_place(repo: Repo) -> None:
    """Before anything is asked of Azure, with the line."""
    for more, words in (
        (", agentCount: 2", "are 8 vCPUs, and a cluster for FastProd needs 12 at least"),
        (", vnetName: net", "a virtual network needs all of its settings"),
        (", vmsize: Standard_D3_v2", "did you mean"),
    ):
        repo.write({"targets/production.yaml": TARGET % more})
        said = repo.run("validate", code=11)
        assert "targets/production.yaml:10:" in said
        assert words in said
    assert repo.world.arm.asked == []
