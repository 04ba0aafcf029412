"""What `render` prints: manifests that say by themselves what a repo says with defaults, targets and overlays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.deployment import Deployment
from reconciler.core.values import lookup, walk
from reconciler.manifests import load, resolve
from reconciler.manifests.effective import effective, effective_service
from reconciler.manifests.overlays.environment import in_environment
from reconciler.manifests.writing import to_yaml
from tests.manifests.golden import GOOD
from tests.manifests.test_overlays import HEADER, SERVICES, overlay
from tests.manifests.trees import MemoryTree

LAYERS = {
    **GOOD,
    **SERVICES,
    "reconciler.yaml": HEADER + "kind: Defaults\n"
    "spec:\n"
    "  target: there\n"
    "  deployment:\n"
    "    replicas: 3\n"
    "    drainSeconds: 5\n"
    "    local: {logFiles: 7, replicas: 4}\n"
    "    aks: {namespace: x}\n"
    "  policy: {protect: true, drift: {report: [/a, /b]}}\n",
    "targets/there.yaml": HEADER + "kind: Target\nmetadata: {name: there}\n"
    "spec:\n"
    "  type: local\n"
    "  local: {engine: auto}\n"
    "  deployment: {corsOrigins: [https://a.example], drainSeconds: 6}\n"
    "  policy: {prune: false, drift: {default: report, heal: [/b]}}\n",
    "inference/sklearn.yaml": GOOD["inference/sklearn.yaml"].replace(
        "condaFile: env.yml}", "condaFile: env.yml, environmentVariables: {LOG_LEVEL: none, SEED: '1'}}"
    ),
    **overlay(
        "{kind: Service, spec: {deployment: {drainSeconds: 9}}}",
        "{kind: Defaults, spec: {deployment: {local: {logFiles: 8}}}}",
        "{kind: Service, name: diabetes, patch: [{op: replace, path: /spec/models/0/version, value: latest}]}",
    ),
}


def rendered(files: dict[str, str], environment: str) -> dict[str, str]:
    """The files of a repo whose manifests are those rendered."""
    repo = in_environment(load(MemoryTree(files)), environment).repo
    texts = [to_yaml(document.value, lambda pointer: "from # somewhere") for document in effective(repo)]
    others = {path: text for path, text in files.items() if not path.endswith(".yaml")}
    return {**others, "services/all.yaml": "---\n".join(texts)}


def deployments(files: dict[str, str], environment: str = "") -> dict[str, Deployment]:
    """The deployments of a repo, without where they stand."""
    tree = MemoryTree(files)
    found = resolve(in_environment(load(tree), environment).repo, tree, {})
    assert [str(problem) for problem in found.problems] == []
    return {deployment.service: placeless(deployment) for deployment in found.deployments}


def placeless(deployment: Deployment) -> Deployment:
    """The same deployment wherever its documents stand."""
    return replace(
        deployment,
        position=None,
        target=replace(deployment.target, position=None),
        models=tuple(replace(model, position=None) for model in deployment.models),
        entry=replace(deployment.entry, position=None),
        environment=replace(deployment.environment, position=None),
    )


@pytest.mark.parametrize("environment", ["", "production"])
def test_rendered_manifests_say_the_same(environment: str) -> None:
    """A repo of what was rendered, without defaults and overlays, has the very same deployments."""
    files = {path: text for path, text in LAYERS.items() if path != "reconciler.yaml"}
    without_drift = LAYERS["reconciler.yaml"].replace(", drift: {report: [/a, /b]}", "")
    files["reconciler.yaml"] = without_drift
    files["targets/there.yaml"] = LAYERS["targets/there.yaml"].replace(", drift: {default: report, heal: [/b]}", "")
    assert deployments(rendered(files, environment)) == deployments(files, environment)


SETTINGS: dict[str, Any] = {
    "replicas": st.integers(1, 9),
    "drainSeconds": st.floats(0, 9),
    "corsOrigins": st.lists(st.sampled_from(["*", "https://a.example"]), max_size=2),
    "environmentVariables": st.dictionaries(st.sampled_from(["A", "B", "LOG_LEVEL"]), st.sampled_from(["1", "x"])),
}
blocks = st.fixed_dictionaries({}, optional={**SETTINGS, "logFiles": st.integers(1, 9)})
settings = st.fixed_dictionaries({}, optional={**SETTINGS, "local": blocks})
policies = st.fixed_dictionaries({}, optional={"prune": st.booleans(), "protect": st.booleans()})
specs = st.fixed_dictionaries({}, optional={"deployment": settings, "policy": policies})


@given(specs, specs, specs, specs, specs)
def test_whatever_the_layers_say_rendering_says_the_same(
    defaults: dict[str, Any], target: dict[str, Any], service: dict[str, Any], all_: dict[str, Any], one: dict[str, Any]
) -> None:
    """For any settings and policies in any layer and overlay; and each value is at its source what it is in the end."""
    files = {
        **GOOD,
        "reconciler.yaml": HEADER + to_yaml({"kind": "Defaults", "spec": {"target": "there", **defaults}}),
        "targets/there.yaml": HEADER
        + to_yaml({"kind": "Target", "metadata": {"name": "there"}, "spec": {"type": "local", **target}}),
        "services/diabetes.yaml": HEADER
        + to_yaml(
            {
                "kind": "Service",
                "metadata": {"name": "diabetes"},
                "spec": {"models": ["ridge"], "inference": "sklearn", **service},
            }
        ),
        "environments/production.yaml": HEADER
        + to_yaml(
            {
                "kind": "Overlay",
                "metadata": {"name": "production"},
                "spec": {
                    "overrides": [
                        {"kind": "Service", "spec": all_},
                        {"kind": "Target", "name": "there", "spec": one},
                        {"kind": "Defaults", "spec": one},
                    ]
                },
            }
        ),
    }
    assert deployments(rendered(files, "production")) == deployments(files, "production")
    tree = MemoryTree(files)
    repo = in_environment(load(tree), "production").repo
    found = effective_service(repo, "diabetes")
    for pointer, value in walk({"spec": found.value["spec"]}):
        source = found.source(pointer)
        assert source is not None
        assert source.position is not None
        line = files[source.position.file].splitlines()[source.position.line - 1]
        shown = to_yaml({"k": value}).strip().removeprefix("k: ").strip("[]")
        assert shown in line


EXPLAINED = """\
/spec/target defaults Defaults/defaults reconciler.yaml:4:11
/spec/models/0/name document Service/diabetes services/diabetes.yaml:5:12
/spec/models/0/version patch Service/diabetes environments/production.yaml:8:98
/spec/inference document Service/diabetes services/diabetes.yaml:6:14
/spec/deployment/environmentVariables/LOG_LEVEL/value document Service/diabetes services/diabetes.yaml:9:39
/spec/deployment/environmentVariables/SEED/value document InferenceConfig/sklearn inference/sklearn.yaml:4:133
/spec/deployment/environmentVariables/USER/value document Service/diabetes services/diabetes.yaml:9:51
/spec/deployment/replicas document Service/diabetes services/diabetes.yaml:8:15
/spec/deployment/drainSeconds overlay Service/diabetes environments/production.yaml:6:57
/spec/deployment/corsOrigins/0 document Target/there targets/there.yaml:7:30
/spec/deployment/local/logFiles overlay Defaults/defaults environments/production.yaml:7:62
/spec/policy/protect defaults Defaults/defaults reconciler.yaml:10:21
/spec/policy/prune document Target/there targets/there.yaml:8:19
/spec/policy/drift/default document Target/there targets/there.yaml:8:43
/spec/policy/drift/report/0 defaults Defaults/defaults reconciler.yaml:10:44
/spec/policy/drift/heal/0 document Target/there targets/there.yaml:8:58
"""


def test_every_value_is_explained() -> None:
    """The line, the layer and the document of each leaf, in whichever of five files it was set."""
    repo = in_environment(load(MemoryTree(LAYERS)), "production").repo
    found = effective_service(repo, "diabetes")
    lines = [f"{pointer} {s.layer} {s.document} {s.position}" for pointer, s in found.sources()]
    assert sorted(lines) == sorted(EXPLAINED.splitlines())
    leaves = {pointer for pointer, _ in walk({"spec": found.value["spec"]})}
    assert {pointer for pointer, _ in found.sources()} == leaves


def test_of_drift_rules_with_one_pattern_the_last_counts() -> None:
    """The target heals what the defaults only report, so that is all that is left of it."""
    repo = in_environment(load(MemoryTree(LAYERS)), "production").repo
    assert lookup(effective_service(repo, "wine").value, "/spec/policy/drift") == {
        "default": "report",
        "report": ["/a"],
        "heal": ["/b"],
    }


def test_what_nobody_wrote_is_built_in() -> None:
    """A service without a target anywhere goes to the built-in one."""
    found = effective_service(load(MemoryTree(GOOD)), "diabetes")
    source = found.source("/spec/target")
    assert (found.value["spec"]["target"], source and source.position) == ("local", None)
