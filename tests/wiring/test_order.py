"""Generated repos: what is planned follows from the documents, not from where and in which order they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cli.offline import compare
from reconciler.core.change import Plan
from reconciler.core.situation import Rails
from reconciler.manifests import DocumentCache
from reconciler.views import plan_json
from reconciler.wiring.places import Places
from reconciler.wiring.rendering import offline
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

CODE = {path: text for path, text in GOOD.items() if not path.endswith(".yaml")}
FILES = ["services/a.yaml", "services/z.yml", "models/b.yaml", "c.yaml", "inference/d.yaml", "targets/e/f.yaml"]
NAMES = ["ada", "bob", "cleo", "dan"]


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A manifest."""
    return {"apiVersion": "reconciler/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


SERVICES = st.fixed_dictionaries(
    {"models": st.sampled_from([["ridge"], ["lasso:1"], ["ridge", "lasso:1"]]), "inference": st.just("sklearn")},
    optional={
        "target": st.sampled_from(["local", "other"]),
        "deployment": st.fixed_dictionaries(
            {},
            optional={
                "replicas": st.integers(1, 3),
                "environmentVariables": st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["x", "y"])),
            },
        ),
        "policy": st.fixed_dictionaries({}, optional={"protect": st.booleans(), "prune": st.booleans()}),
    },
)


@st.composite
def repos(draw: Any) -> list[dict[str, Any]]:
    """The documents of a repo in which every reference leads somewhere."""
    chosen = draw(st.dictionaries(st.sampled_from(NAMES), SERVICES, min_size=1))
    return [
        document("Model", "ridge", {"path": "models/ridge.pkl"}),
        document("Model", "lasso", {"path": "models/ridge.pkl", "version": 1}),
        document("InferenceConfig", "sklearn", yaml.safe_load(GOOD["inference/sklearn.yaml"])["spec"]),
        document("Target", "other", {"type": "local", "local": {"engine": "process"}}),
        *(document("Service", name, spec) for name, spec in chosen.items()),
    ]


@st.composite
def layouts(draw: Any, documents: list[dict[str, Any]]) -> dict[str, str]:
    """Those documents in any order, in any files, with their keys in any order."""
    files: dict[str, list[str]] = {}
    for each in draw(st.permutations(documents)):
        turned = turn(each) if draw(st.booleans()) else each
        files.setdefault(draw(st.sampled_from(FILES)), []).append(yaml.safe_dump(turned, sort_keys=False))
    return {**CODE, **{path: "---\n".join(texts) for path, texts in files.items()}}


def turn(value: Any) -> Any:
    """The same with the keys of every mapping in reverse."""
    return {k: turn(v) for k, v in reversed(value.items())} if isinstance(value, dict) else value


def planned(files: dict[str, str], folder: Path) -> Plan:
    """The offline plan of a repo in which everything is new."""
    parts = offline(Places(folder), None, DocumentCache())
    head = parts.states.of(MemoryTree(files))
    return compare(None, head, parts.renderers(head.targets), Rails())


@settings(max_examples=15)
@given(data=st.data(), documents=repos())
def test_a_plan_does_not_depend_on_where_documents_stand(data: Any, documents: list[dict[str, Any]]) -> None:
    """Another layout of the same documents gives the same digest, and the same bytes."""
    nowhere = Path("/nonexistent")
    one, other = (planned(data.draw(layouts(documents)), nowhere) for _ in range(2))
    assert one.problems == ()
    assert {c.service for c in one.effective() if c.service} == {
        d["metadata"]["name"] for d in documents if d["kind"] == "Service"
    }
    assert one.digest == other.digest
    assert plan_json.render(one) == plan_json.render(other)
