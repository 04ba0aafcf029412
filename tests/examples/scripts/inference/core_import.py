# `Model` from the package above, `Workspace` imported and never used, headers of the request as a second parameter.
import json
import os

from azureml.core import Model, Run, Workspace
from sklearn.externals import joblib


def init():
    global model
    model = joblib.load(Model.get_model_path('scale', version=3))


def run(raw_data, request_headers):
    rows = json.loads(raw_data)["data"]
    return {
        "result": model.predict(rows).tolist(),
        "traceparent": request_headers.get("Traceparent", "none"),
        "host": bool(request_headers.get("Host")),
    }
