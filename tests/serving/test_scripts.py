"""What scripts find: stand-ins of retired packages, model folders, environment variables, old pickles."""

import json
import pickle
import zlib

import pytest

from reconciler.serving import pickles
from reconciler.serving.cli import parse
from reconciler.serving.standins.core import Model, ModelNotFoundException

SEED = """
from sklearn.externals import joblib
from azureml.core.model import Model
from azureml.core import Model as Same
from azureml.monitoring import ModelDataCollector
from azureml.ai.monitoring import Collector
from azureml.ai.monitoring.context import BasicCorrelationContext
def init():
    global path
    assert Same is Model
    ModelDataCollector("m", designation="inputs").collect([1])
    context = Collector(name="inputs").collect([1], BasicCorrelationContext(id="7"))
    assert context.get_id() == "7" and Collector(name="outputs").collect([1]).get_id()
    path = Model.get_model_path("ridge")
def run(data): return [path, joblib.__name__, open(path).read()]
"""


@pytest.fixture
def models(tmp_path):
    """Models as Azure ML lays them out: two versions of one, a folder of another."""
    root = tmp_path / "azureml-models"
    for version in ("2", "12"):
        (root / "ridge" / version).mkdir(parents=True)
        (root / "ridge" / version / "ridge.pkl").write_text(f"version {version}")
    (root / "net" / "1").mkdir(parents=True)
    for name in ("a", "b"):
        (root / "net" / "1" / name).touch()
    return root


@pytest.mark.parametrize(
    "below", [pytest.param("", id="several-models", marks=pytest.mark.long), pytest.param("ridge/12", id="one-model")]
)
def test_a_script_of_the_retired_sdk_runs_unchanged(serve, models, below):
    """`azureml.core`, `sklearn.externals` and the collector are there; the model's path is found."""
    server = serve(SEED, env={"AZUREML_MODEL_DIR": str(models / below)})
    path, joblib, content = server.client.post("/score", content="x").json()
    assert path == str(models / "ridge" / "12" / "ridge.pkl")
    assert (joblib, content) == ("joblib", "version 12")


AUTOMATED = """
import json, logging, os, pickle
import joblib
import numpy as np
import azureml.automl.core, azureml.train.automl
from azureml.core.dataset import Dataset
from azureml.automl.core.shared import logging_utilities, log_server
from azureml.telemetry import INSTRUMENTATION_KEY
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
try:
    log_server.enable_telemetry(INSTRUMENTATION_KEY)
    log_server.set_verbosity("INFO")
    logger = logging.getLogger("azureml.automl.core.scoring_script")
except:
    pass
def init():
    global model
    path = os.path.join(os.getenv("AZUREML_MODEL_DIR"), "model.pkl")
    parts = os.path.normpath(path).split(os.sep)
    log_server.update_custom_dimensions({"model_name": parts[-3], "model_version": parts[-2]})
    try:
        logger.info("Loading model from path.")
        model = joblib.load(path)
    except Exception as e:
        logging_utilities.log_traceback(e, logger)
        raise
@input_schema("data", NumpyParameterType(np.array([[1.0]])))
@output_schema(NumpyParameterType(np.array([1.0])))
def run(data):
    return json.dumps({"result": (model["factor"] * data).tolist()})
"""


def test_a_script_that_automated_ml_generated_runs_unchanged(serve, models):
    """Its telemetry goes nowhere; a model that cannot be loaded stands in the log with its traceback."""
    folder = models / "best" / "3"
    folder.mkdir(parents=True)
    server = serve(AUTOMATED, wait=None, env={"AZUREML_MODEL_DIR": str(folder)})
    assert server.process.wait(100) == 3
    server.logged("No such file or directory")
    (folder / "model.pkl").write_bytes(pickle.dumps({"factor": 2}))
    server = serve(AUTOMATED, env={"AZUREML_MODEL_DIR": str(folder)})
    answer = server.client.post("/score", json={"data": [[3.0]]}).json()
    assert json.loads(answer) == {"result": [[6.0]]}


def test_model_paths_follow_azure_mls_rules(models, monkeypatch):
    """Highest version, a given version, the folder where there are several files, and a clear error."""
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(models))
    assert Model.get_model_path("ridge").endswith("/ridge/12/ridge.pkl")
    assert Model.get_model_path("ridge", version=2).endswith("/ridge/2/ridge.pkl")
    assert Model.get_model_path("net").endswith("/net/1")
    with pytest.raises(ModelNotFoundException, match=r"Model other is not among .*net, ridge"):
        Model.get_model_path("other")
    with pytest.raises(ModelNotFoundException, match="version 3"):
        Model.get_model_path("ridge", 3)


def test_a_package_that_is_installed_wins_over_its_stand_in(serve, tmp_path):
    """Where `azureml.core` is really there, it is used, and what it lacks is still offered."""
    real = tmp_path / "site" / "azureml" / "core"
    real.mkdir(parents=True)
    (real / "__init__.py").write_text("MARK = 'real'")
    script = """
import azureml.core
from azureml.contrib.services.aml_request import AMLRequest
def init(): pass
def run(data): return azureml.core.MARK
"""
    server = serve(script, env={"PYTHONPATH": str(tmp_path / "site")})
    assert server.client.post("/score", content="x").json() == "real"


def test_init_and_run_share_the_main_thread(serve):
    """What is bound to its thread in `init` still works in `run`: SQLite, signal handlers, thread-locals."""
    script = """
import signal, sqlite3, threading
def init():
    global database, heard
    heard = []
    database = sqlite3.connect(":memory:")
    signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
def run(data):
    signal.raise_signal(signal.SIGUSR1)
    return [database.execute("select 7").fetchone()[0], len(heard), threading.current_thread().name]
"""
    server = serve(script)
    assert server.client.post("/score", content="x").json() == [7, 1, "MainThread"]
    assert server.stop() == 0


@pytest.mark.long
def test_a_pickle_of_another_scikit_learn_is_told_with_both_versions(serve, tmp_path):
    """A version warning becomes a note in the log and in the ready event; a failing load names both versions."""
    warned = """
import pickle, sklearn
from sklearn.linear_model import Ridge
def init():
    state = Ridge().__getstate__()
    state["_sklearn_version"] = "0.20.3"
    Ridge().__setstate__(state)
def run(data): pass
"""
    server = serve(warned)
    (note,) = server.event("ready")["warnings"]
    assert "saved with scikit-learn 0.20.3" in note
    server.logged("Pin scikit-learn==0.20.3")
    model = tmp_path / "models"
    model.mkdir()
    (model / "ridge.pkl").write_bytes(pickle.dumps({"_sklearn_version": "0.19.1"}))
    broken = "def init():\n    import sklearn.linear_model.ridge\ndef run(data): pass"
    server = serve(broken, wait=None, env={"AZUREML_MODEL_DIR": str(model)})
    assert server.process.wait(100) == 3
    assert "ridge.pkl was saved with scikit-learn 0.19.1" in server.event("failed")["reason"]


def test_the_version_in_a_pickle_is_found_without_loading_it(tmp_path):
    """Plain, compressed, other protocols; nothing where there is none."""
    content = {"coef": [1.0], "_sklearn_version": "1.0.2"}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(content, protocol)
        for stored in (data, zlib.compress(data)):
            file = tmp_path / "model.pkl"
            file.write_bytes(stored)
            assert pickles.saved_with(file) == "1.0.2"
    file.write_bytes(b"\x78broken")
    assert pickles.saved_with(file) is None
    assert pickles.saved_with(tmp_path / "missing.pkl") is None


def test_environment_variables_stand_in_for_arguments(tmp_path):
    """Azure ML's variables are read; arguments win."""
    variables = {
        "AML_APP_ROOT": str(tmp_path),
        "AZUREML_ENTRY_SCRIPT": "a.py",
        "AZUREML_SOURCE_DIRECTORY": "src",
        "SERVICE_NAME": "name",
        "SCORING_TIMEOUT_MS": "1500",
        "WORKER_COUNT": "3",
        "AML_CORS_ORIGINS": "http://a, http://b",
    }
    settings = parse(["--service-version=2"], variables)
    assert (settings.script.entry, str(settings.script.source_dir)) == ("a.py", "src")
    assert (settings.limits.timeout, settings.workers) == (1.5, 3)
    assert settings.access.cors == ("http://a", "http://b")
    assert (settings.service.name, settings.service.version) == ("name", "2")
    assert parse(["--timeout-ms=10"], variables).limits.timeout == 0.01
    assert settings.listen.host == "127.0.0.1"
