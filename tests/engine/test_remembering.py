"""What is remembered never changes a plan: after any edits it is that of a process which remembers nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler import wiring
from reconciler.cli.offline import compare
from reconciler.core.contents import Tree
from reconciler.engine.desired import DesiredState
from reconciler.manifests import DocumentCache, load
from reconciler.views import plan_json
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

HEADER = "apiVersion: reconciler/v1\n"


def _service(name: str, spec: str) -> str:
    return HEADER + f"kind: Service\nmetadata: {{name: {name}}}\nspec: {{inference: sklearn, {spec}}}\n"


SERVICES = [
    "models: [ridge]",
    "models: [ridge], deployment: {port: 8890}",
    "models: [ridge], deployment: {port: 8891, environmentVariables: {A: b}}",
    "models: [{name: ridge, version: 1}], auth: {enabled: true}",
    "models: [lasso]",
    "models: [ridge, lasso], target: box",
    "models: [ridge], target: nowhere",
    "models: [ridge], policy: {drift: {default: report, ignore: ['/nothing']}}",
    "models: [ridge], deployment: {replicas: 2, aks: {autoscale: {enabled: true}}}, tests: [{request: {data: [1]}}]",
    "models: [ridge], unknown: 1",
    "models: [ridge], tests: [",
]
MODEL = HEADER + "kind: Model\nmetadata: {name: %s}\nspec: {path: models/%s}\n"
POOL: dict[str, list[str | None]] = {
    **{
        f"services/s{n}.yaml": [None, *(_service(name, spec) for name in (f"s{n}", "s0") for spec in SERVICES)]
        for n in range(4)
    },
    "services/many.yaml": [
        None,
        "---\n".join(_service(f"m{n}", SERVICES[0]) for n in range(3)),
        "---\n".join(_service(f"m{n}", SERVICES[n]) for n in range(3)),
        "# a note\n" + "---\n".join(_service(f"m{n}", SERVICES[0]) for n in range(3)),
    ],
    "models/ridge.yaml": [
        MODEL % ("ridge", "ridge.pkl"),
        "# a note\n" + MODEL % ("ridge", "ridge.pkl"),
        MODEL % ("ridge", "gone.pkl"),
        None,
    ],
    "models/lasso.yaml": [None, MODEL % ("lasso", "ridge.pkl"), MODEL % ("lasso", "other.pkl")],
    "models/ridge.pkl": ["bytes", "other bytes"],
    "models/other.pkl": [None, "more"],
    "inference/sklearn.yaml": [
        GOOD["inference/sklearn.yaml"],
        GOOD["inference/sklearn.yaml"].replace("condaFile: env.yml", "environment: {dependencies: [numpy]}"),
        GOOD["inference/sklearn.yaml"].replace("score.py", "missing.py"),
        GOOD["inference/sklearn.yaml"] + "# a note\n",
    ],
    "inference/sklearn/env.yml": [
        GOOD["inference/sklearn/env.yml"],
        "name: x\ndependencies: [python=3.6.2, {pip: [numpy, azureml-defaults]}]\n",
        "name: x\ndependencies: [nonsense-of-conda=1, {pip: ['git+https://x']}]\n",
    ],
    "inference/sklearn/score.py": [
        GOOD["inference/sklearn/score.py"],
        GOOD["inference/sklearn/score.py"] + "\nfrom azureml.contrib.services.aml_request import rawhttp\n",
        "def init(:\n",
    ],
    "targets/box.yaml": [
        None,
        HEADER + "kind: Target\nmetadata: {name: box}\nspec: {type: local, local: {engine: process}}\n",
        HEADER + "kind: Target\nmetadata: {name: box}\nspec: {type: aci, aci: {resourceGroup: g}}\n",
    ],
    "reconciler.yaml": [
        None,
        HEADER + "kind: Defaults\nspec: {policy: {protect: true}, deployment: {cpuCores: 2}}\n",
        HEADER + "kind: Defaults\nspec: {target: box}\n",
    ],
    "environments/prod.yaml": [
        None,
        HEADER + "kind: Overlay\nmetadata: {name: prod}\nspec: {overrides: [{kind: Service, name: s0, "
        "spec: {deployment: {port: 9000}}}]}\n",
        HEADER + "kind: Overlay\nmetadata: {name: prod}\nspec: {overrides: [{kind: Service, "
        "spec: {deployment: {replicas: 3}}}]}\n",
    ],
}
EDITS = st.sampled_from(sorted(POOL)).flatmap(lambda path: st.tuples(st.just(path), st.sampled_from(POOL[path])))
HISTORY = st.lists(st.lists(EDITS, min_size=0, max_size=3).map(dict), min_size=1, max_size=5)


class Run:
    """An offline plan's parts, which remember from one revision to the next."""

    def __init__(self, folder: Path, environment: str, cache: DocumentCache) -> None:
        self.cache = cache
        self.parts = wiring.offline(wiring.Places(folder), None, cache, environment)
        self.before: DesiredState | None = None

    def plan(self, tree: Tree) -> tuple[DesiredState, str]:
        """What a revision wants, and the plan from the one before to it."""
        state = self.parts.states.of(tree)
        targets = {**(self.before.targets if self.before else {}), **state.targets}
        made = compare(self.before, state, self.parts.renderers(targets), wiring.rails(None))
        self.before = state
        return state, plan_json.render(made)


@pytest.mark.parametrize("environment", ["", "prod"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({path: st.sampled_from(texts) for path, texts in POOL.items()}), HISTORY, st.booleans())
def test_remembering_changes_nothing(
    environment: str, first: dict[str, str | None], history: list[dict[str, str | None]], anew: bool
) -> None:
    """One process over many revisions, and a process a revision with what the last one saved, plan as a fresh one."""
    tree = MemoryTree({path: text for path, text in first.items() if text is not None})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        remembering = Run(folder, environment, wiring.document_cache(wiring.Places(folder)))
        for number, edits in enumerate([{}, *history]):
            tree = tree.changed(_bytes(edits), sha=f"{number:040}")
            if anew:
                remembering.cache.save()
                before = remembering.before
                remembering = Run(folder, environment, wiring.document_cache(wiring.Places(folder)))
                remembering.before = before
            forgetting = Run(folder, environment, DocumentCache())
            forgetting.before = remembering.before
            assert remembering.plan(tree) == forgetting.plan(tree)


def _bytes(edits: Mapping[str, str | None]) -> Mapping[str, bytes | str | None]:
    return dict(edits)


@settings(max_examples=50, deadline=None)
@given(st.fixed_dictionaries({path: st.sampled_from(texts) for path, texts in POOL.items()}), HISTORY)
def test_loading_what_changed_is_loading_everything(
    first: dict[str, str | None], history: list[dict[str, str | None]]
) -> None:
    """Documents, problems and their order are those of a whole load, whatever was edited, added or removed."""
    tree = MemoryTree({path: text for path, text in first.items() if text is not None})
    repo = load(tree)
    for number, edits in enumerate(history):
        tree = tree.changed(_bytes(edits), sha=f"{number:040}")
        repo = load(tree, previous=repo)
        whole = load(tree)
        assert repo == whole
        assert [list(each) for each in (repo.services, repo.models, repo.targets, repo.inference)] == [
            list(each) for each in (whole.services, whole.models, whole.targets, whole.inference)
        ]
