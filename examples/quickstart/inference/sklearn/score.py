"""Entry script: `init` runs once, `run` for every request."""

import json
import os
from pathlib import Path

import joblib


def init():
    global model
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    model = joblib.load(next(folder.rglob("*.pkl")))


def run(data):
    rows = json.loads(data)["data"]
    return model.predict(rows).tolist()
