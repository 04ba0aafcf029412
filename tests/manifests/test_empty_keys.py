"""A key without a value: wherever one may stand, it is told or says no more than a missing one; nothing raises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.core.values import escape, split_pointer
from reconciler.manifests import DocumentCache
from reconciler.manifests.kinds.fields import fields_at
from reconciler.manifests.kinds.overlay import KINDS
from reconciler.wiring.places import Places
from reconciler.wiring.rendering import offline
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

HEAD = "apiVersion: reconciler/v1\n"
MORE = {
    "inference/full.yaml": HEAD
    + "kind: InferenceConfig\nmetadata: {name: full}\nspec: {sourceDirectory: inference/sklearn, entryScript: "
    "score.py, condaFile: env.yml, baseImage: registry.example/base:1, baseImageRegistry: {address: registry.example, "
    "username: me, password: {valueFrom: {env: A}}}, environmentVariables: {A: b, C: {valueFrom: {env: A}}, "
    "D: {value: b}}}\n",
    "inference/inline.yaml": HEAD
    + "kind: InferenceConfig\nmetadata: {name: inline}\nspec: {sourceDirectory: inference/sklearn, entryScript: "
    "score.py, environment: {python: '3.11', dependencies: [numpy]}}\n",
    "models/far.yaml": HEAD
    + "kind: Model\nmetadata: {name: far, tags: {a: b}}\nspec: {uri: 'https://models.example/m', version: 1, sha256: "
    + f"'sha256:{'0' * 64}'}}\n",
    "targets/here.yaml": HEAD + "kind: Target\nmetadata: {name: here}\nspec: {type: local, local: {engine: process}}\n",
    "targets/cluster.yaml": HEAD
    + "kind: Target\nmetadata: {name: cluster}\nspec: {type: aks, aks: {kubeContext: a, namespace: ml}}\n",
    "services/there.yaml": HEAD
    + "kind: Service\nmetadata: {name: there, description: x}\nspec: {target: cluster, models: [{name: ridge, version: "
    "1}], inference: full, auth: {enabled: true, primaryKey: {valueFrom: {env: A}}}, tests: [{request: {data: [1]}, "
    "expect: {shape: [1]}}], policy: {drift: {ignore: [/a]}}, deployment: {cpuCores: 1, aks: {autoscale: {enabled: "
    "true}, livenessProbe: {periodSeconds: 3}, tolerations: [{key: a}], registryCredentials: [{location: "
    "registry.example, user: b, password: {valueFrom: {env: A}}}]}, local: {port: 1}}}\n",
    "reconciler.yaml": HEAD
    + "kind: Defaults\nspec: {deployment: {cpuCores: 1, aks: {replicas: 1}}, policy: {prune: true}}\n",
    "environments/test.yaml": HEAD
    + "kind: Overlay\nmetadata: {name: test}\nspec: {overrides: [{kind: Service, name: there, spec: {deployment: "
    "{cpuCores: 2}}}]}\n",
}
TREE = MemoryTree({**GOOD, **MORE})


def mappings(value: object, pointer: str = "") -> Iterator[str]:
    """Where the mappings of a document are."""
    if isinstance(value, list):
        for at, inner in enumerate(value):
            yield from mappings(inner, f"{pointer}/{at}")
    elif isinstance(value, dict):
        yield pointer
        for key, inner in value.items():
            yield from mappings(inner, f"{pointer}/{escape(key)}")


def at(document: Any, pointer: str) -> Any:
    """A value of a document."""
    for step in split_pointer(pointer):
        document = document[int(step) if isinstance(document, list) else step]
    return document


def emptied(document: Any) -> Iterator[str]:
    """The document with each key once without a value that one of its mappings has or may have."""
    for pointer in list(mappings(document)):
        for key in sorted({*fields_at(KINDS[document["kind"]], pointer), *at(document, pointer)}):
            copy = json.loads(json.dumps(document))
            at(copy, pointer)[key] = None
            yield json.dumps(copy)


def plans(tree: MemoryTree, folder: Path, environment: str = "") -> Any:
    """The desired state of a tree, rendered for its targets."""
    return offline(Places(folder), None, DocumentCache(), environment).states.of(tree)


def test_the_examples_of_this_module_are_sound(tmp_path: Path) -> None:
    """Else nothing would be proved by them."""
    wrong = [problem for problem in plans(TREE, tmp_path, "test").problems if problem.severity == "error"]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in sorted({**GOOD, **MORE}) if path.endswith(".yaml")])
def test_a_key_without_a_value_never_raises(path: str, tmp_path: Path) -> None:
    """Every mapping of every kind, every key."""
    cases = list(emptied(yaml.safe_load(TREE.read(path, 1 << 20))))
    assert len(cases) > 5
    for text in cases:
        state = plans(TREE.changed({path: text}), tmp_path, "test")
        assert all(str(problem) for problem in state.problems), text


@pytest.mark.parametrize(
    "key", ["condaFile", "sourceDirectory", "requirementsFile", "environment", "baseImageRegistry"]
)
def test_an_empty_optional_key_is_a_missing_one(key: str, tmp_path: Path) -> None:
    """The same plan with and without."""
    text = (
        HEAD + "kind: InferenceConfig\nmetadata: {name: sklearn}\nspec: {entryScript: inference/sklearn/score.py%s}\n"
    )
    path = "inference/sklearn.yaml"
    without, empty = (plans(TREE.changed({path: text % more}), tmp_path) for more in ("", f", {key}: "))
    assert [p.message for p in empty.problems] == [p.message for p in without.problems]
    assert empty.desired == without.desired
