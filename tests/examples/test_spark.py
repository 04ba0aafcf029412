"""`runtime: spark-py`: a Spark session in an entry script, and what is said where Java is missing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.examples.stage import HERE, Stage

HAS_JAVA = shutil.which("java") is not None
REQUIRED = bool(os.environ.get("RECONCILER_TEST_REQUIRE"))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(not HAS_JAVA and not REQUIRED, reason="there is no Java runtime here")
def test_a_spark_script_is_applied_tested_and_scored(stage: Stage):
    """Rows of JSON become a data frame of the sample's types, Spark computes, and the document knows the types."""
    stage.copy(HERE / "spark")
    assert "done." in stage.good("apply").splitlines()[-1]

    rows = [{"name": "x", "value": 1.0}, {"name": "y", "value": 2.5}, {"name": "x", "value": 0.5}]
    assert stage.score("totals", {"data": rows}) == {"x": 3.0, "y": 5.0}
    wrong = stage("score", "totals", "--data", '{"data": [{"name": "x", "value": "much"}]}')
    assert (wrong.returncode, "does not match the schema" in wrong.stdout) == (16, True)

    status, body = stage.ask("totals", "/swagger.json?version=3")
    assert status == 200
    assert '"value": {"type": "number", "format": "double"' in json.dumps(json.loads(body))
    stage.good("destroy", "--all", "--yes")
    assert stage.processes() == []


@pytest.fixture
def without_java(tmp_path: Path) -> dict[str, str]:
    """A PATH of everything but Java."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "bash", "sh", "env"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return {"PATH": str(folder), "JAVA_HOME": ""}


def test_where_java_is_missing_plan_and_apply_say_so(stage: Stage, without_java: dict[str, str]):
    """The plan warns, with the place of `runtime`; apply fails before anything is built and says what to install."""
    stage.copy(HERE / "spark")
    stage.extra.update(without_java)
    plan = stage.good("plan")
    assert "java-missing" in plan
    assert "Java 17 or later" in plan

    applied = stage("apply")
    assert applied.returncode == 16
    assert "needs a Java runtime" in applied.stdout
    assert "Java 17 or later" in applied.stdout
    assert not list((stage.state / "environments").glob("*/venv"))
