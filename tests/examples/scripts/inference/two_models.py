# Two models: by name, and below AZUREML_MODEL_DIR with name and version.
import json
import os

import joblib
from azureml.core.model import Model


def init():
    global first, second
    first = joblib.load(Model.get_model_path('scale'))
    second = joblib.load(os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'shift', '2', 'shift.pkl'))


def run(raw_data):
    data = json.loads(raw_data)['data']
    return [a + b for a, b in zip(first.predict(data).tolist(), second.predict(data).tolist())]
