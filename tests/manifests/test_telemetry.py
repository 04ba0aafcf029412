"""Telemetry of services: where its connection string comes from, and what changes with it and without."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reconciler.artifacts.environments.declared import TELEMETRY_REQUIREMENTS, declared
from reconciler.core.deployment import Deployment, Environment
from reconciler.core.images import image_name
from reconciler.core.resources import Desired
from reconciler.core.secrets import SecretRef
from reconciler.core.values import lookup
from reconciler.manifests import load, resolve
from reconciler.targets.aks.render import AksRenderer, Images
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

HEADER = "apiVersion: reconciler/v1\n"
NAME = "APPLICATIONINSIGHTS_CONNECTION_STRING"
ON = "enableAppInsights: true"


def connection(variable: str) -> str:
    """The setting, with a reference to a variable."""
    return f"appInsightsConnectionString: {{valueFrom: {{env: {variable}}}}}"


def repo(
    service: str = ON, target: str = "", defaults: str = "", variables: str = "", common: str = "", image: str = ""
) -> MemoryTree:
    """One service at a cluster; each text stands below `deployment.aks` of a document."""
    files = {
        "targets/cluster.yaml": f"{HEADER}kind: Target\nmetadata: {{name: cluster}}\n"
        f"spec:\n  type: aks\n  aks: {{kubeContext: ml}}\n  deployment:\n    aks: {{{target}}}\n",
        "reconciler.yaml": f"{HEADER}kind: Defaults\nspec:\n  deployment:\n    aks: {{{defaults}}}\n",
        "services/diabetes.yaml": f"{HEADER}kind: Service\nmetadata: {{name: diabetes}}\n"
        "spec:\n  target: cluster\n  models: [ridge]\n  inference: sklearn\n  deployment:\n"
        f"    environmentVariables: {{{common}}}\n    aks: {{{service}}}\n",
        "inference/sklearn.yaml": GOOD["inference/sklearn.yaml"].replace(
            "condaFile", f"environmentVariables: {{{variables}}}, condaFile"
        ),
    }
    if image:
        files["inference/sklearn.yaml"] = (
            f"{HEADER}kind: InferenceConfig\nmetadata: {{name: sklearn}}\nspec: {{image: {image}}}\n"
        )
    return MemoryTree({**GOOD, **files})


def deployed(**texts: str) -> Deployment:
    """The service, resolved without a problem."""
    tree = repo(**texts)
    found = resolve(load(tree), tree, {})
    assert found.problems == ()
    (deployment,) = found.deployments
    return deployment


def rendered(deployment: Deployment) -> dict[str, Desired]:
    """Its objects by kind and name."""
    objects = AksRenderer("cluster", Images("python:{python}-slim", "registry.example/ml")).render(deployment)
    return {f"{each.id.kind}/{each.id.name.partition(':')[2]}": each for each in objects}


@pytest.mark.parametrize(
    ("texts", "variable"),
    [
        ({"service": f"{ON}, {connection('OWN')}"}, "OWN"),
        ({"target": connection("CLUSTER")}, "CLUSTER"),
        ({"defaults": f"{ON}, {connection('ALL')}", "service": ""}, "ALL"),
        ({"service": f"{ON}, {connection('OWN')}", "target": connection("CLUSTER")}, "OWN"),
        ({"target": connection("CLUSTER"), "variables": f"{NAME}: {{valueFrom: {{env: SCRIPT}}}}"}, "SCRIPT"),
        ({"target": connection("CLUSTER"), "common": f"{NAME}: {{valueFrom: {{env: SERVICE}}}}"}, "SERVICE"),
        ({"target": connection("CLUSTER"), "variables": 'AML_APP_INSIGHTS_ENABLED: "false"'}, "CLUSTER"),
    ],
)
def test_where_the_connection_string_comes_from(texts: dict[str, str], variable: str) -> None:
    """Said once at the target or for all, or by a service; a variable of the service's own counts before all."""
    objects = rendered(deployed(**texts))
    secret = objects["Secret/diabetes.variables"].spec
    assert lookup(secret, f"/data/{NAME}") == SecretRef("env", variable)
    pod = objects["Deployment/diabetes"].spec
    env = lookup(pod, "/spec/template/spec/containers/scoring/env")
    assert env[NAME] == {"valueFrom": {"secretKeyRef": {"name": "diabetes.variables", "key": NAME}}}
    assert env["AML_APP_INSIGHTS_ENABLED"] == {"value": "true"}
    assert lookup(pod, f"/secretVariables/{NAME}") == SecretRef("env", variable)


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        ({}, "services/diabetes.yaml:10:30"),
        ({"service": "", "target": ON}, "targets/cluster.yaml:8:30"),
        ({"service": "", "defaults": ON}, "reconciler.yaml:5:30"),
    ],
)
def test_without_a_connection_string_it_is_an_error_where_it_is_switched_on(texts: dict[str, str], place: str) -> None:
    """The report says what to write, and where."""
    tree = repo(**texts)
    found = resolve(load(tree), tree, {})
    (problem,) = found.problems
    assert (str(problem.position), problem.code, problem.subject) == (place, "together", "Service/diabetes")
    assert "`enableAppInsights` has no connection string" in problem.message
    assert f"add `{connection(NAME)}` beside it" in problem.hint
    assert found.deployments == ()
    assert list(found.incomplete) == ["diabetes"]


@pytest.mark.parametrize(
    "texts",
    [
        {"service": f"{ON}, appInsightsConnectionString: 'InstrumentationKey=hunter2'"},
        {"service": f"{ON}, {connection('OWN')}", "common": f"{NAME}: 'InstrumentationKey=hunter2'"},
        {"service": f"{ON}, {connection('OWN')}", "common": "OTHER: {value: 'InstrumentationKey=hunter2'}"},
    ],
)
def test_it_never_stands_in_the_repo_itself(texts: dict[str, str]) -> None:
    """By its name, by its form, and where somebody says that it is no secret."""
    tree = repo(**texts)
    (problem,) = [each for each in load(tree).problems if each.code == "secret-literal"]
    assert "hunter2" not in str(problem)


def test_without_telemetry_everything_is_as_it_was() -> None:
    """No name of what is built changes, nor what a service is made of; the setting is then not used."""
    plain = deployed(service="")
    # As it was before there was telemetry.
    before = "0ac46836ca0813f3bcb4ad54de9aa2aaeab3c54a5141d869d4df0370c947833b"
    assert Environment(python="3.12", requirements=("numpy",)).identity == before
    unused = deployed(service="enableAppInsights: false", target=connection("CLUSTER"))
    assert {key: each.spec for key, each in rendered(unused).items()} == {
        key: each.spec for key, each in rendered(plain).items()
    }
    assert not [line for line in TELEMETRY_REQUIREMENTS if line in str(declared(plain.environment))]


def test_with_telemetry_the_environment_holds_what_sends_it() -> None:
    """Together with the user's requirements, so that both get one lock; environment and image have another name."""
    plain, telling = deployed(service=""), deployed(target=connection("CLUSTER"))
    lines = [item.text for item in declared(telling.environment).requirements]
    assert set(lines) - {item.text for item in declared(plain.environment).requirements} == set(TELEMETRY_REQUIREMENTS)
    assert telling.environment.id != plain.environment.id
    base = "python:{python}-slim"
    assert image_name(telling, base).tag != image_name(plain, base).tag


def test_services_that_share_an_inference_config_share_the_environment() -> None:
    """It is looked at once for all of them; one without telemetry keeps the plain one."""
    texts = repo(target=connection("CLUSTER"))
    text = texts.read("services/diabetes.yaml", 10_000).decode()
    tree = texts.changed(
        {
            "services/second.yaml": text.replace("name: diabetes", "name: second"),
            "services/third.yaml": text.replace("name: diabetes", "name: third").replace(ON, ""),
        }
    )
    first, second, third = resolve(load(tree), tree, {}).deployments
    assert first.environment is second.environment
    assert first.environment.telemetry
    assert not third.environment.telemetry


def test_a_ready_made_image_gets_the_variables() -> None:
    """Whatever serves in it may send telemetry: the names are the field's own."""
    objects = rendered(deployed(target=connection("CLUSTER"), image="registry.example/own:1"))
    env = lookup(objects["Deployment/diabetes"].spec, "/spec/template/spec/containers/scoring/env")
    assert set(env) == {NAME, "AML_APP_INSIGHTS_ENABLED"}


def test_the_page_shows_what_loads() -> None:
    """The example of docs/kubernetes.md is a target and a service that resolve with telemetry."""
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    section = page.partition("\n## Application Insights\n")[2]
    (documents,) = re.findall(r"```yaml\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    names: dict[str, Any] = {"services/diabetes.yaml": documents}
    tree = MemoryTree({**GOOD, **names})
    found = resolve(load(tree), tree, {})
    assert found.problems == ()
    (deployment,) = found.deployments
    assert deployment.settings.environment_variables[NAME] == SecretRef("env", NAME)
