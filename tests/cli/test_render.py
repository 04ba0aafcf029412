"""`render`: the manifests that count, as YAML and JSON, with the origin of each value."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.cli.conftest import Run
from tests.cli.test_environments import add_overlay
from tests.cli.test_offline import replace_in


def test_one_service_with_what_it_refers_to(reconciler: Run, repo: Path) -> None:
    """YAML that says which commit and environment it is of; the lines say where each value was set."""
    add_overlay(repo, "production", 3)
    done = reconciler("render", "diabetes", "--env", "production", "--explain", cwd=repo)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# main@")
    assert done.stdout.splitlines()[0].endswith(" in production")
    documents = list(yaml.safe_load_all(done.stdout))
    assert [document["kind"] for document in documents] == ["Service", "InferenceConfig", "Model"]
    assert documents[0]["spec"]["deployment"] == {"replicas": 3}
    (line,) = [line for line in done.stdout.splitlines() if line.strip().startswith("replicas:")]
    assert line.endswith("# environments/production.yaml:6:53 overlay")
    assert "  inference: sklearn  " in done.stdout
    plain = reconciler("render", "--env", "production", cwd=repo)
    assert {document["kind"] for document in yaml.safe_load_all(plain.stdout)} == {
        "Service",
        "InferenceConfig",
        "Model",
    }
    assert "services/diabetes.yaml" not in plain.stdout


def test_json_has_every_source(reconciler: Run, repo: Path) -> None:
    """Documents as plain values; each leaf of each spec with file, line and layer."""
    add_overlay(repo, "production", 3)
    done = reconciler("render", "--explain", "-o", "json", "--env", "production", cwd=repo)
    found = json.loads(done.stdout)
    assert (found["kind"], found["formatVersion"], found["environment"]) == ("Manifests", 1, "production")
    (source,) = [s for s in found["sources"] if s["pointer"] == "/spec/deployment/replicas"]
    assert source == {
        "resource": "Service/diabetes",
        "document": "Service/diabetes",
        "pointer": "/spec/deployment/replicas",
        "layer": "overlay",
        "overlay": "production",
        "file": "environments/production.yaml",
        "line": 6,
        "column": 53,
    }


def test_resources_are_what_the_driver_renders(reconciler: Run, repo: Path) -> None:
    """The resources of one service and what they depend on; secrets stay references."""
    variables = "deployment: {environmentVariables: {API: {valueFrom: {env: API}}}}"
    replace_in(repo / "services/diabetes.yaml", "target: local", f"target: local\n  {variables}")
    done = reconciler("render", "diabetes", "--resources", "-o", "json", cwd=repo)
    found = json.loads(done.stdout)
    assert found["kind"] == "Resources"
    names = [resource["resource"] for resource in found["resources"]]
    assert names[-1] == "local/process/diabetes"
    assert "registry/models/model/diabetes-ridge:1" in names
    (own,) = [r for r in found["resources"] if r.get("service")]
    assert set(own["dependsOn"]) == set(names[:-1])
    assert "(sensitive, env:API)" in done.stdout


def test_what_cannot_be_rendered_is_said(reconciler: Run, repo: Path) -> None:
    """An unknown service is wrong usage with a did-you-mean; a broken manifest gives its problem and 11."""
    unknown = reconciler("render", "diabets", cwd=repo)
    assert (unknown.returncode, "did you mean 'diabetes'?" in unknown.stderr) == (10, True)
    both = reconciler("render", "--explain", "--resources", cwd=repo)
    assert both.returncode == 10
    replace_in(repo / "services/diabetes.yaml", "inference:", "inferenc:")
    broken = reconciler("render", "diabetes", cwd=repo)
    assert (broken.returncode, "unknown key 'inferenc'" in broken.stderr) == (11, True)
    rest = reconciler("render", cwd=repo)
    assert rest.returncode == 11
    assert "unknown key 'inferenc'" in rest.stderr
    assert [document["kind"] for document in yaml.safe_load_all(rest.stdout)] == ["InferenceConfig", "Model"]
