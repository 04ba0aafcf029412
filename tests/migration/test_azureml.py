"""What Azure ML's command line was given, as manifests: golden cases, every known key, and files that are wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given as always
from hypothesis import settings
from hypothesis import strategies as st

from reconciler.core.values import lookup
from reconciler.manifests import load, resolve
from reconciler.migration.azureml import Import, ModelArgument, imported, service_name
from tests.manifests.trees import MemoryTree
from tests.migration.golden import CASES, case, cases, given, result, told

SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"


def service(made: Import) -> dict[str, Any]:
    """The service's spec, read back from its text."""
    assert made.problems == ()
    return yaml.safe_load(made.documents[-1].text())["spec"]


@pytest.mark.parametrize("name", cases())
def test_what_is_made_of_each_case(name: str) -> None:
    """Every key is taken over, or said to be left out; no secret is in anything."""
    found = result(name)
    assert found == (CASES / f"{name}.txt").read_text()
    assert "canary" not in found


@pytest.mark.parametrize("name", cases())
def test_what_is_made_is_valid(name: str) -> None:
    """Loaded and resolved with the files it needs, there is nothing to complain about."""
    made = imported(given(*case(name)))
    files = {document.path: document.text() for document in made.documents}
    files |= {"models/ridge.pkl": "bytes", **made.code.made}
    files |= {where: "" for where in made.code.needed if where.endswith("yml") or where.endswith("steps")}
    files |= {where: SCRIPT for where in made.code.needed if where.endswith(".py")}
    tree = MemoryTree(files)
    found = resolve(load(tree), tree, {})
    assert [str(problem) for problem in found.problems] == []
    assert [deployment.service for deployment in found.deployments] == ["diabetes"]


def test_yaml_is_read_as_json_is() -> None:
    """The same values in the other notation give the same documents; YAML 1.1's truths are understood."""
    for name in cases():
        inference, deployment = case(name)
        one = imported(given(inference, deployment))
        other = imported(
            given(
                None,
                None,
                inference=(yaml.safe_dump(inference, sort_keys=False).encode(), "ic.yml"),
                deployment=(yaml.safe_dump(deployment, sort_keys=False).encode(), "dc.yml"),
            )
        )
        assert [d.text() for d in one.documents] == [d.text() for d in other.documents]
    text = b"computeType: aci\nauthEnabled: yes\nappInsightsEnabled: Off\n"
    spec = service(imported(given({"entryScript": "s.py"}, None, deployment=(text, "dc.yml"))))
    assert (spec["auth"], spec.get("deployment")) == ({"enabled": True}, None)


def test_files_as_windows_and_editors_leave_them() -> None:
    """A byte order mark, tabs, and keys that stand twice are no hindrance in JSON."""
    text = b'\xef\xbb\xbf{\r\n\t"computeType": "local",\r\n\t"port": 1,\r\n\t"port": 8080\r\n}\r\n'
    assert service(imported(given({"entryScript": "s.py"}, None, deployment=(text, "dc.json"))))["deployment"] == {
        "port": 8080
    }


def test_without_deployment_it_is_a_local_service() -> None:
    """As `az ml model deploy` had no such thing, nothing is assumed beyond that."""
    assert service(imported(given({"entryScript": "s.py"}, None, deployment=None))) == {
        "target": "local",
        "models": ["ridge:1"],
        "inference": "diabetes",
    }


# Every key that has an equivalent: where it is, what it may be, where it comes to be.
_port = st.integers(1, 65535)
_count = st.integers(1, 1000)
_cores = st.floats(0.1, 64).map(lambda number: round(number, 3))
_word = st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True)
KEYS: dict[str, list[tuple[str, Any, str]]] = {
    "local": [("/port", _port, "/deployment/port")],
    "ACI": [
        ("/containerResourceRequirements/cpu", _cores, "/deployment/cpuCores"),
        ("/containerResourceRequirements/memoryInGB", _cores, "/deployment/memoryGb"),
        ("/location", _word, "/deployment/aci/location"),
        ("/dnsNameLabel", _word, "/deployment/aci/dnsNameLabel"),
        ("/authEnabled", st.booleans(), "/auth/enabled"),
        ("/appInsightsEnabled", st.just(value=True), "/deployment/aci/enableAppInsights"),
    ],
    "AKS": [
        ("/containerResourceRequirements/cpu", _cores, "/deployment/cpuCores"),
        ("/containerResourceRequirements/memoryInGB", _cores, "/deployment/memoryGb"),
        ("/authEnabled", st.booleans(), "/auth/enabled"),
        ("/scoringTimeoutMs", _count, "/deployment/scoringTimeoutMs"),
        ("/maxConcurrentRequestsPerContainer", _count, "/deployment/maxConcurrentRequests"),
        ("/maxQueueWaitMs", _count, "/deployment/maxRequestWaitTime"),
        ("/gpuCores", st.integers(0, 8), "/deployment/aks/gpuCores"),
        ("/namespace", _word, "/deployment/aks/namespace"),
        ("/autoScaler/autoscaleEnabled", st.booleans(), "/deployment/aks/autoscale/enabled"),
        ("/autoScaler/minReplicas", st.just(1), "/deployment/aks/autoscale/minReplicas"),
        ("/autoScaler/maxReplicas", _count, "/deployment/aks/autoscale/maxReplicas"),
        ("/autoScaler/targetUtilization", st.integers(1, 100), "/deployment/aks/autoscale/targetUtilization"),
        *(
            (f"/livenessProbeRequirements/{key}", _count, f"/deployment/aks/livenessProbe/{key}")
            for key in ("periodSeconds", "initialDelaySeconds", "timeoutSeconds", "failureThreshold")
        ),
    ],
    "iot": [
        ("/iotDeviceId", _word, "/deployment/edge/deviceId"),
        ("/routes", st.dictionaries(_word, _word, min_size=1), "/deployment/edge/routes"),
        ("/amlModule/moduleName", _word, "/deployment/edge/amlModule/moduleName"),
    ],
}


def put(document: dict[str, Any], pointer: str, value: Any) -> None:
    """Sets a value by its pointer."""
    *above, last = pointer[1:].split("/")
    for step in above:
        document = document.setdefault(step, {})
    document[last] = value


@st.composite
def configurations(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """A deployment configuration, and what must come of it."""
    kind = draw(st.sampled_from(sorted(KEYS)))
    document: dict[str, Any] = {"computeType": draw(st.sampled_from((kind, kind.lower(), kind.upper())))}
    expected: list[tuple[str, Any]] = []
    for pointer, values, to in draw(st.lists(st.sampled_from(KEYS[kind]), unique_by=lambda key: key[0])):
        value = draw(values)
        put(document, pointer, value)
        expected.append((to, value))
    return document, expected


@always(configurations())
@settings(deadline=None)
def test_every_known_key_arrives(configuration: tuple[dict[str, Any], list[tuple[str, Any]]]) -> None:
    """Whichever are given, each value stands where it should, and nothing is said to be left out."""
    document, expected = configuration
    before = copy.deepcopy(document)
    made = imported(given({"entryScript": "score.py"}, document))
    spec = service(made)
    assert document == before
    assert [(to, lookup(spec, to)) for to, _ in expected] == expected
    assert [note.key for note in made.notes if note.position is not None] == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
_ALL = sorted({step for keys in KEYS.values() for pointer, _, _ in keys for step in pointer[1:].split("/")})
_AND = [
    "environment",
    "python",
    "docker",
    "baseImageRegistry",
    "keys",
    "externalModules",
    "acrCredentials",
    "condaFile",
]


@always(st.dictionaries(st.sampled_from([*_ALL, *_AND]), _json, max_size=6), st.sampled_from(sorted(KEYS)))
@settings(deadline=None)
def test_anything_else_is_a_problem_with_a_place(document: dict[str, Any], kind: str) -> None:
    """Whatever stands under the known keys, the result is documents or problems, never anything else."""
    made = imported(given({"entryScript": "score.py", **document}, {**document, "computeType": kind}))
    told(made)
    assert all(problem.position is not None and problem.message for problem in made.problems)


@pytest.mark.parametrize(
    ("inference", "deployment", "said"),
    [
        ({}, {"computeType": "local"}, "inferenceconfig.json:1:1: error: `entryScript` is missing"),
        ({"entryScript": 3}, {"computeType": "local"}, "inferenceconfig.json:2:20: error: `entryScript` must be text"),
        ({"entryScript": "/a.py"}, {"computeType": "local"}, "2:20: error: `entryScript` leads out of where it may be"),
        ({"entryScript": "../a.py"}, {"computeType": "local"}, "leads out"),
        ({"entryScript": "C:\\a.py"}, {"computeType": "local"}, "leads out"),
        (
            {"entryScript": "score.R"},
            {"computeType": "local"},
            "2:20: error: the entry script's name must end in `.py`",
        ),
        ({"entryScript": "a.py", "runtime": "r"}, {"computeType": "local"}, "3:16: error: `runtime` must be one of"),
        ({"entryScript": "a.py"}, {}, "deploymentconfig.json:1:1: error: `computeType` is missing"),
        (
            {"entryScript": "a.py"},
            {"computeType": "vm"},
            "2:20: error: `computeType` must be one of local, aci, aks, iot",
        ),
        ({"entryScript": "a.py"}, {"computeType": ["aci"]}, "`computeType` must be text"),
        ({"entryScript": "a.py"}, {"computeType": "local", "port": 99999}, "3:13: error: `port` must be at most 65535"),
        ({"entryScript": "a.py"}, {"computeType": "local", "port": "80"}, "3:13: error: `port` must be a number"),
        ({"entryScript": "a.py"}, {"computeType": "local", "port": 80.5}, "`port` must be a whole number"),
        ({"entryScript": "a.py"}, {"computeType": "local", "port": True}, "`port` must be a number"),
        (
            {"entryScript": "a.py"},
            {"computeType": "aks", "numReplicas": 2, "autoScaler": {"autoscaleEnabled": True}},
            "3:20: error: `numReplicas` and `autoScaler.autoscaleEnabled` exclude each other",
        ),
        ({"entryScript": "a.py"}, {"computeType": "aci", "sslEnabled": True}, "`sslEnabled` needs"),
        (
            {"entryScript": "a.py"},
            {"computeType": "iot", "externalModules": [1]},
            "`externalModules[0]` must be a mapping",
        ),
        (
            {"entryScript": "a.py"},
            {"computeType": "iot", "amlModule": {"createOptions": {"Env": ["API_KEY=canary"]}}},
            "this looks like a secret",
        ),
        (
            {
                "entryScript": "a.py",
                "environment": {"python": {"condaDependencies": {"channels": ["https://u:canary@conda.example"]}}},
            },
            {"computeType": "local"},
            "`environment.python.condaDependencies` holds credentials",
        ),
    ],
)
def test_what_cannot_be_taken_over(inference: Any, deployment: Any, said: str) -> None:
    """Each problem is at the place in the file that it comes from; secrets are in none."""
    made = imported(given(inference, deployment))
    text = "\n".join(map(str, made.problems))
    assert said in text
    assert "canary" not in text


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"a: b: c", b"- x\n", b"--- {}\n--- {}\n"])
def test_files_that_are_no_configuration(data: bytes) -> None:
    """Are told with their name."""
    made = imported(given(None, {"computeType": "local"}, inference=(data, "ic.json")))
    assert made.problems
    assert all(str(problem).startswith("ic.json") for problem in made.problems)


def test_a_target_of_the_repo_is_used() -> None:
    """The only one of the type, or the one that is named; another type is a problem; several are pointed out."""
    aci = ({"entryScript": "a.py"}, {"computeType": "aci"})
    assert service(imported(given(*aci, targets={"here": "local", "eu": "aci"})))["target"] == "eu"
    made = imported(given(*aci, targets={"us": "aci", "eu": "aci"}))
    assert service(made)["target"] == "eu"
    assert "the repo has eu, us" in told(made)
    made = imported(given(*aci, targets={"us": "aci", "eu": "aci"}, target="us"))
    assert (service(made)["target"], len(made.documents)) == ("us", 3)
    made = imported(given(*aci, target="new", place={"resourceGroup": "ml"}))
    assert yaml.safe_load(made.documents[2].text())["spec"] == {"type": "aci", "aci": {"resourceGroup": "ml"}}
    assert "change-me" not in told(made)
    place = {"resourceGroup": "ml", "clusterName": "scoring", "subscriptionId": "0000"}
    made = imported(given({"entryScript": "a.py"}, {"computeType": "aks"}, place=place))
    assert yaml.safe_load(made.documents[2].text())["spec"] == {"type": "aks", "aks": place}
    assert "change-me" not in told(made)
    assert "is of type local" in str(imported(given(*aci, targets={"x": "local"}, target="x")).problems[0])
    made = imported(given({"entryScript": "a.py"}, {"computeType": "local"}, target="laptop"))
    assert yaml.safe_load(made.documents[2].text())["spec"] == {"type": "local"}


def test_models_the_repo_has_get_no_document() -> None:
    """One behind an address gets one, and a word on how to lock it."""
    inference, deployment = {"entryScript": "a.py"}, {"computeType": "local"}
    models = [ModelArgument("a", 2), ModelArgument("b", uri="https://models.example/b.onnx")]
    made = imported(given(inference, deployment, models=models))
    assert service(made)["models"] == ["a:2", "b"]
    assert made.documents[0].path == "models/b.yaml"
    assert "reconciler models lock" in told(made)


def test_files_elsewhere_are_to_be_brought() -> None:
    """The source directory as a whole, or else each file by itself, below a folder of the service."""
    inference = {"entryScript": "score.py", "condaFile": "env.yml", "sourceDirectory": "src"}
    made = imported(given(inference, {"computeType": "local"}, folder="inference/diabetes", moved=True))
    assert made.code.brought == {"src": "inference/diabetes"}
    assert "sourceDirectory: inference/diabetes\n" in made.documents[1].text()
    del inference["sourceDirectory"]
    made = imported(given(inference, {"computeType": "local"}, folder="inference/diabetes", moved=True))
    assert made.code.brought == {
        "score.py": "inference/diabetes/score.py",
        "env.yml": "inference/diabetes/env.yml",
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sklearn_regression_model.pkl", "sklearn-regression-model"),
        ("Diabetes Ridge", "diabetes-ridge"),
        ("2nd-model", "nd-model"),
        ("a" * 40, "a" * 32),
        ("---", ""),
        ("é", ""),
    ],
)
def test_names_of_services(text: str, name: str) -> None:
    """Made of a model's, as far as that goes."""
    assert service_name(text) == name
