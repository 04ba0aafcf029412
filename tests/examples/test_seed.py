"""The case of every user of Azure ML's v1 SDK: old imports, an old Python, a model of another scikit-learn."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin  # pyright: ignore[reportUnknownVariableType]

from tests.examples.stage import EXAMPLES, Stage

EXAMPLE = EXAMPLES / "azureml-v1"
OLD = "1.3.2"
ROW = {"data": [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]}
TRAIN = """
import pickle, sys
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge
X, y = load_diabetes(return_X_y=True)
for path, model in zip(sys.argv[1:], (Ridge(alpha=0.03), GradientBoostingRegressor(n_estimators=2, max_depth=2))):
    pickle.dump(model.fit(X, y), open(path, "wb"))
"""


@pytest.fixture(scope="session")
def old_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Models of an older scikit-learn: one that a newer one still reads, one that it does not."""
    folder = tmp_path_factory.mktemp("old")
    command = [find_uv_bin(), "run", "--no-project", "--quiet", "--with", f"scikit-learn=={OLD}", "--with", "numpy<2"]
    paths = folder / "ridge.pkl", folder / "boosting.pkl"
    subprocess.run([*command, "python", "-c", TRAIN, *map(str, paths)], check=True, cwd=folder)
    return paths


def test_the_example_is_the_seed_case():
    """The example holds the imports, decorators and requirements that the case is about."""
    script = (EXAMPLE / "inference/diabetes/score.py").read_text()
    conda = (EXAMPLE / "inference/diabetes/myenv.yml").read_text()
    for part in ("from sklearn.externals import joblib", "from azureml.core.model import Model", "@input_schema("):
        assert part in script
    for part in ("python=3.6.2", "azureml-defaults", "scikit-learn", "inference-schema[numpy-support]"):
        assert part in conda


def test_the_plan_warns_of_the_python_that_cannot_be_had(stage: Stage):
    """The warning has its place, what is used in its stead, and a way out; the plan says what gives way."""
    stage.copy(EXAMPLE)
    plan = stage.good("plan")
    assert "inference/diabetes/myenv.yml:4:5: warning: Python 3.6.2 cannot be had" in plan
    assert "[python-overridden]" in plan
    assert "say python=3" in plan
    assert "azureml-defaults gives way to the scoring runtime" in plan


def test_the_operator_can_forbid_another_python(stage: Stage, tmp_path: Path):
    """With `allowPythonOverride: false` it is an error for validate, plan and apply, and nothing is made."""
    stage.copy(EXAMPLE)
    settings = tmp_path / "settings.yaml"
    settings.write_text("environments: {allowPythonOverride: false}\n")
    for command in ("validate", "plan", "apply"):
        done = stage(command, "--settings", str(settings))
        said = done.stdout + done.stderr
        assert done.returncode == FORBIDDEN[command], said
        assert "inference/diabetes/myenv.yml:4:5: error: Python 3.6.2 cannot be had" in said
    assert not list((stage.state / "environments").glob("py-*"))


FORBIDDEN = {"validate": 11, "plan": 11, "apply": 11}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_model_of_another_scikit_learn_gets_a_clear_message(stage: Stage, old_models: tuple[Path, Path]):
    """One that loads serves with a warning; one that does not fails naming both versions, and the old one serves on."""
    stage.copy(EXAMPLE)
    loads, fails = old_models
    model = stage.repo / "models/sklearn_regression_model.pkl"

    model.write_bytes(loads.read_bytes())
    stage.commit("A model of another scikit-learn")
    stage.good("apply")
    assert stage.score("sklearn-diabetes", ROW) == [pytest.approx(6783.28884)]
    for told in (stage.good("logs", "sklearn-diabetes"), stage.good("status", "sklearn-diabetes")):
        assert f"Ridge was saved with scikit-learn {OLD} and is loaded with" in told
        assert f"Pin scikit-learn=={OLD}" in told

    model.write_bytes(fails.read_bytes())
    stage.commit("A model that does not load")
    applied = stage("apply")
    assert applied.returncode == 16
    status, log = stage.good("status", "sklearn-diabetes"), stage.good("logs", "sklearn-diabetes", "-n", "50")
    for told in (applied.stdout, status, log):
        assert f"sklearn_regression_model.pkl was saved with scikit-learn {OLD}, this environment has" in told
        assert f"pin scikit-learn=={OLD} in the environment" in told
    assert stage.score("sklearn-diabetes", ROW) == [pytest.approx(6783.28884)]
