"""From what stands at a target to documents: nothing that holds anyhow is said, secrets only by reference."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.described import Described, Unsaid
from reconciler.core.resources import Mark, Observed, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.manifests import load, resolve
from reconciler.manifests.importing import Below, file_of, inference_document, service_document, value_from
from reconciler.manifests.layers import secret
from tests.manifests.trees import MemoryTree

ID = ResourceId("laptop", "process", "echo")


def below(*layers: dict[str, Any], by_default: bool = False, **variables: Any) -> Below:
    """What holds at the target without being said."""
    return Below("laptop", "local", by_default, layers, variables)


def spec_of(deployment: dict[str, Any], under: Below | None = None, **more: Any) -> dict[str, Any]:
    """The `spec` of a service with these settings."""
    found = Described(Observed(ID, {}, more.pop("mark", None)), deployment, **more)
    references = {"TOKEN": SecretRef("env", "APP_TOKEN")}
    document = service_document(found, "echo", "how", under or below(), references, adopt=False)
    return dict(document["spec"])


def test_what_holds_anyhow_is_not_said() -> None:
    """Built-in defaults, and what defaults and target say: left out where they are the same, said where not."""
    told = {"port": None, "replicas": 1, "scoringTimeoutMs": 60_000, "local": {"logFiles": 5, "openFiles": None}}
    assert spec_of(told) == {"target": "laptop", "inference": "how"}
    assert spec_of(told, below({"replicas": 3}, {"local": {"logFiles": 2}}))["deployment"] == {
        "replicas": 1,
        "local": {"logFiles": 5},
    }
    assert spec_of({**told, "replicas": 3}, below({"replicas": 3}, by_default=True)) == {"inference": "how"}


def test_variables_are_said_so_that_they_are_read_as_they_are() -> None:
    """A secret by reference, what only looks like one as a value, what the inference config has not at all."""
    variables = {"A": "1", "MY_KEY": "plain", "TOKEN": Secret("f"), "THERE": "already"}
    said = spec_of({"environmentVariables": variables}, below(THERE={"value": "already"}))
    assert said["deployment"] == {
        "environmentVariables": {
            "A": "1",
            "MY_KEY": {"value": "plain"},
            "TOKEN": {"valueFrom": {"env": "APP_TOKEN"}},
        }
    }


def test_protection_models_and_keys_are_said() -> None:
    """What the mark and the resource tell beside the settings."""
    mark = Mark("i", "echo", "r", "d", str(ID), protect=True)
    said = spec_of({}, mark=mark, models=(("m", "3"),), auth=True)
    assert said["models"] == [{"name": "m", "version": 3}]
    assert said["auth"] == {"enabled": True}
    assert said["policy"] == {"protect": True}


@pytest.mark.parametrize(
    "ref",
    [
        SecretRef("env", "NAME"),
        SecretRef("file", "/run/secrets/name"),
        SecretRef("sops", "secrets/all.yaml#/database/password"),
        SecretRef("keyVault", "ml-production/password"),
        SecretRef("keyVault", f"https://ml.vault.azure.net/password/{'0' * 32}"),
    ],
)
def test_a_reference_is_written_as_it_was_read(ref: SecretRef) -> None:
    """The inverse of reading `valueFrom`."""
    assert secret({"valueFrom": value_from(ref)}) == ref


def test_what_cannot_be_said_is_a_comment_that_ends_no_line() -> None:
    """Whatever a target calls something, the file reads as the documents it has."""
    documents = [
        service_document(Described(Observed(ID, {}), {}), "echo", "how", below(by_default=True), {}, adopt=True),
        inference_document("how", {"image": "their/model:1"}),
    ]
    text = file_of(ID, documents, [Unsaid("a\nkind: Service\n---\n", "b\u2028c")])
    assert [line for line in text.splitlines() if "kind: Service" in line] == [
        "#   a kind: Service --- : b c",
        "kind: Service",
    ]
    tree = MemoryTree({"services/echo.yaml": text})
    resolution = resolve(load(tree), tree, {})
    assert resolution.problems == ()
    (deployment,) = resolution.deployments
    assert deployment.image.image == "their/model:1"
    assert deployment.policy.adopt


def test_an_inference_config_has_a_script_or_an_image() -> None:
    """One of both is needed."""
    tree = MemoryTree(
        {"how.yaml": "apiVersion: reconciler/v1\nkind: InferenceConfig\nmetadata: {name: how}\nspec: {}\n"}
    )
    (problem,) = load(tree).problems
    assert problem.code == "missing-key"
    assert "image" in problem.hint
