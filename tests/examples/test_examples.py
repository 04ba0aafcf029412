"""Every example from its first commit to nothing, as a reader would play it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.examples.installed import make_wheels
from tests.examples.stage import EXAMPLES, Stage, closed

PATIENT = [0.04, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0.0, 0.02, -0.02]
COUNT = list(range(1, 11))


@dataclass(frozen=True)
class Example:
    """One of `examples/`, and what is to be seen when it is played.

    Args:
        script: The entry script, from the manifest folder.
        passing: What the service's test expects, as the manifest has it, and
        failing: something that its answer is not.
        bodies: Bodies of requests with their content types, and the answers.
        warning: What the plan warns of.
    """

    folder: str
    service: str
    script: str
    passing: str
    failing: str
    bodies: tuple[tuple[str, str, Any], ...]
    warning: str = ""


JSON = "application/json"
EXAMPLES_PLAYED = [
    Example(
        "quickstart",
        "diabetes",
        "inference/sklearn/score.py",
        "shape: [1]",
        "shape: [2]",
        ((json.dumps({"data": [PATIENT]}), JSON, [181.32]),),
    ),
    Example(
        "onnx",
        "iris",
        "inference/onnx/score.py",
        "species: [0]",
        "species: [1]",
        (('{"data": [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]}', JSON, {"species": [0, 2]}),),
    ),
    Example(
        "raw-bytes",
        "brightness",
        "inference/score_picture.py",
        "is: medium",
        "is: dark",
        (
            ("P2 2 1 255 0 0", "image/x-portable-graymap", {"brightness": 0.0, "is": "dark"}),
            ("P2 1 1 100 90", "image/x-portable-graymap", {"brightness": 229.5, "is": "bright"}),
        ),
    ),
    Example(
        "several-models",
        "diabetes-models",
        "inference/sklearn/score.py",
        "[200.4]",
        "[100.4]",
        (
            (json.dumps({"data": [PATIENT], "models": ["diabetes-ridge"]}), JSON, {"diabetes-ridge": [197.395]}),
            (json.dumps({"data": [PATIENT], "models": ["diabetes-lasso"]}), JSON, {"diabetes-lasso": [200.41]}),
        ),
    ),
    Example(
        "azureml-v1",
        "sklearn-diabetes",
        "inference/diabetes/score.py",
        "shape: [2]",
        "shape: [3]",
        ((json.dumps({"data": [COUNT, COUNT[::-1]]}), JSON, [6783.28884, 4073.04978]),),
        "Python 3.6.2 cannot be had",
    ),
]


def play(stage: Stage, example: Example) -> None:
    """The whole life of an example's service."""
    begin(stage, example)
    report = json.loads(stage.good("status", example.service, "-o", "json"))
    assert (report["health"], report["sync"]) == ("Healthy", "in sync")
    assert '"ready"' in stage.good("logs", example.service)
    assert "No drift" in stage.good("drift")
    assert stage("plan", "--detailed-exitcode").returncode == 0
    check_that_mistakes_change_nothing(stage, example)
    end(stage, example)


def begin(stage: Stage, example: Example) -> None:
    """From the first commit to a service that answers, and nothing left to do."""
    stage.copy(EXAMPLES / example.folder)
    assert stage.good("validate").splitlines()[-1].startswith("main@")
    plan = stage.good("plan")
    assert example.warning in plan
    assert f"local/{example.service}" in plan
    assert "done." in stage.good("apply").splitlines()[-1]
    check_answers(stage, example)
    check_document(stage, example.service)
    assert stage.good("apply").endswith("nothing to do.\n")


def end(stage: Stage, example: Example) -> None:
    """Destroyed, and nothing left: no process, no port, no folder."""
    address = stage.address(example.service)
    stage.good("destroy", "--all", "--yes")
    assert closed(address)
    assert stage.processes() == []
    assert list((stage.state / "services" / "local").iterdir()) == []


def check_answers(stage: Stage, example: Example) -> None:
    """The expected numbers, through `score`."""
    for body, kind, answer in example.bodies:
        got = json.loads(stage.good("score", example.service, "--data", body, "--content-type", kind))
        shown = {name: got[name] for name in answer} if isinstance(answer, dict) else got
        assert shown == about(answer)


def about(value: Any) -> Any:
    """The same with numbers that stand for all that are close to them."""
    if isinstance(value, dict):
        return {name: about(part) for name, part in value.items()}
    if isinstance(value, list):
        return [about(part) for part in value]
    return pytest.approx(value, rel=1e-3) if isinstance(value, float) else value


def check_document(stage: Stage, service: str) -> None:
    """The API document, with the service's key where it has one."""
    keys = stage("keys", service, "--show")
    headers = {"Authorization": f"Bearer {keys.stdout.split()[1]}"} if keys.stdout.strip() else {}
    for version, name in (("2", "swagger"), ("3", "openapi")):
        status, body = stage.ask(service, f"/swagger.json?version={version}", headers=headers)
        document = json.loads(body)
        assert (status, document["info"]["title"], document[name][0]) == (200, service, version)
        assert "/score" in document["paths"]


def check_that_mistakes_change_nothing(stage: Stage, example: Example) -> None:
    """Bad commits: each gives its message and exit code, and what served goes on serving."""
    script = (stage.repo / example.script).read_text()
    manifest = next(p for p in (stage.repo / "services").iterdir())
    text = manifest.read_text()

    stage.write(example.script, script + "\ndef broken(:\n", "A syntax error")
    wrong = stage("apply")
    assert wrong.returncode == 11, wrong.stdout + wrong.stderr
    assert f"{example.script}:{len(script.splitlines()) + 2}:" in wrong.stderr + wrong.stdout
    check_answers(stage, example)

    stage.write(example.script, script.replace("def init():", "def init():\n    raise ValueError('no luck')", 1), "Bad")
    wrong = stage("apply")
    assert wrong.returncode == 16
    assert "ValueError: no luck" in wrong.stdout
    assert "no luck" in stage.good("status", example.service)
    check_answers(stage, example)

    stage.write(example.script, script + "\n# another version\n", "Another version")
    path = str(manifest.relative_to(stage.repo))
    stage.write(path, text.replace(example.passing, example.failing), "A test that fails")
    wrong = stage("apply")
    assert wrong.returncode == 16
    assert "tests-failed" in wrong.stdout
    check_answers(stage, example)

    stage.write(path, text, "Back")
    assert "done." in stage.good("apply").splitlines()[-1]
    check_answers(stage, example)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES_PLAYED, ids=lambda example: example.folder)
def test_an_example_from_commit_to_nothing(stage: Stage, example: Example):
    """Validate, plan, apply, score, swagger, no-op, three kinds of mistakes, destroy; nothing is left running."""
    play(stage, example)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the scoring runtime imports, as wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheels(folder, "starlette", "uvicorn", "anyio", "httptools", "uvloop", "werkzeug")
    return folder


def test_an_example_without_packages_and_without_a_package_index(tmp_path: Path, wheels: Path):
    """The raw-bytes example needs the runtime alone: applied, scored, destroyed from wheels of a folder."""
    stage = Stage(
        tmp_path,
        {
            "RECONCILER_ENVIRONMENTS__NO_INDEX": "true",
            "RECONCILER_ENVIRONMENTS__FIND_LINKS": json.dumps([str(wheels)]),
            "RECONCILER_ENVIRONMENTS__CACHE_DIR": str(tmp_path / "cache"),
        },
    )
    try:
        example = next(e for e in EXAMPLES_PLAYED if e.folder == "raw-bytes")
        begin(stage, example)
        end(stage, example)
    finally:
        stage.end()


@pytest.mark.parametrize("example", EXAMPLES_PLAYED, ids=lambda example: example.folder)
def test_an_example_is_planned(stage: Stage, example: Example):
    """Each example validates, and its plan names the service and says what warns."""
    stage.copy(EXAMPLES / example.folder)
    plan = stage.good("plan", "-o", "json")
    assert f"local/process/{example.service}" in plan
    validated = stage("validate")
    assert validated.returncode == 0, validated.stderr
    assert example.warning in validated.stdout + validated.stderr


def test_every_example_is_played():
    """No example stands in the folder that no test plays."""
    assert {p.name for p in EXAMPLES.iterdir() if p.is_dir()} == {e.folder for e in EXAMPLES_PLAYED}
