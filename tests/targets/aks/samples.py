"""Deployments to a cluster, resolved as a repo's would be, and what an API server once answered."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.deployment import Auth, Deployment, EntryScript, Environment, ModelVersion, Target
from reconciler.core.policy import Policy
from reconciler.core.problems import Position
from reconciler.core.resources import Desired
from reconciler.core.secrets import SecretRef
from reconciler.manifests import layers
from reconciler.manifests.defaults import TARGET_BLOCKS
from reconciler.targets.aks.render import AksRenderer, Images

RECORDINGS = Path(__file__).parents[4] / "shared" / "kubernetes-recordings"
MODEL = ModelVersion("ridge", "2", "sha256:" + "0" * 64)
KEYS = Auth(True, SecretRef("generated", "diabetes/primary"), SecretRef("generated", "diabetes/secondary"))
IMAGES = Images("python:{python}-slim", "registry.example/ml")


def deployment(
    common: Mapping[str, Any] | None = None,
    aks: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Deployment:
    """A service with some settings beside those that are defaults.

    Args:
        common: Below `deployment`. aks: Below `deployment.aks`. target: Below `spec.aks` of the Target.
    """
    block = layers.plain(layers.merged(TARGET_BLOCKS["aks"], {"namespace": "ml", **(target or {})}))
    plain = Deployment(
        "diabetes",
        Target("cluster", "aks", block, Position("targets/cluster.yaml", 2, 1)),
        (MODEL,),
        EntryScript("score.py", "src", "a" * 40),
        Environment(),
        auth=KEYS,
        settings=layers.SharedLayers("aks", {}, [], Policy()).settings({**(common or {}), "aks": dict(aks or {})}),
        position=Position("services/diabetes.yaml", 2, 1),
    )
    return dataclasses.replace(plain, **changes)


def render(made: Deployment, images: Images = IMAGES) -> Sequence[Desired]:
    """All its objects."""
    return AksRenderer("cluster", images).render(made)


def one(rendered: Sequence[Desired], kind: str, name: str = "diabetes") -> Desired:
    """The object of a kind and name."""
    (found,) = [each for each in rendered if each.id.kind == kind and each.id.name == f"ml:{name}"]
    return found


def recorded(name: str) -> Any:
    """The body of a recorded answer of a 1.36 API server."""
    path = RECORDINGS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the recording {name} is not here")
    data = json.loads(path.read_text())
    return data["response"]["body"]
