"""From what a driver tells back to a resource: written as manifests, read, resolved and rendered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.core.described import Described
from reconciler.core.driver import Renderer
from reconciler.core.resources import Desired
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import lookup, transform, walk
from reconciler.manifests.importing import Below, file_of, inference_document, service_document
from reconciler.manifests.load import load
from reconciler.manifests.resolve import resolve
from reconciler.manifests.writing import to_yaml
from tests.manifests.trees import MemoryTree

SCRIPT = "def init(): pass\ndef run(data): pass\n"


def redeployed(found: Described, driver: Renderer, **block: Any) -> Desired:
    """The resource that a Service renders to which says what was found; code, environment and secrets as they are.

    Args:
        block: Of the target.
    """
    observed = found.observed
    service, target = observed.id.name, observed.id.target
    secrets = [n for n, v in found.deployment["environmentVariables"].items() if isinstance(v, Secret)]
    references = {name: SecretRef("env", name) for name in secrets}
    below = Below(target, "local", by_default=False, layers=(), variables={})
    image = {"image": found.image} if found.image else {"entryScript": "score.py"}
    documents = [
        service_document(found, service, "how", below, references, adopt=False),
        inference_document("how", image),
    ]
    where = {"apiVersion": "reconciler/v1", "kind": "Target", "metadata": {"name": target}}
    tree = MemoryTree(
        {
            "services/it.yaml": file_of(observed.id, documents, found.unsaid),
            "targets/it.yaml": to_yaml({**where, "spec": {"type": "local", "local": {"engine": "auto", **block}}}),
            "score.py": SCRIPT,
        }
    )
    models: Any = observed.spec.get("models") or ()
    registered = {model["name"]: {model["version"]: model["digest"]} for model in models}
    resolution = resolve(load(tree), tree, registered)
    assert resolution.problems == (), resolution.problems
    (deployment,) = resolution.deployments
    (desired,) = driver.render(deployment)
    own = {key: observed.spec[key] for key in ("entry", "environment") if key in desired.spec}
    spec = {**desired.spec, **own}
    there = {leaf: lookup(observed.spec, pointer) for pointer, leaf in walk(spec) if isinstance(leaf, SecretRef)}
    spec = transform(spec, lambda leaf: there[leaf] if isinstance(leaf, SecretRef) else leaf)
    return replace(desired, spec=spec, depends_on=())
