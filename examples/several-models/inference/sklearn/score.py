"""Scores with whichever of the service's models a request asks for, by default with all."""

import json
import os
from pathlib import Path

import joblib


def init():
    # With several models AZUREML_MODEL_DIR holds <name>/<version>/<what was registered>.
    global models
    root = Path(os.environ["AZUREML_MODEL_DIR"])
    models = {path.relative_to(root).parts[0]: joblib.load(path) for path in root.rglob("model.pkl")}


def run(data):
    request = json.loads(data)
    wanted = request.get("models", sorted(models))
    return {name: models[name].predict(request["data"]).tolist() for name in wanted}
