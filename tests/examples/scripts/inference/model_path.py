# The first notebook of many people: one model, found by its name.
import json
import pickle
import time

import joblib
import numpy
from azureml.core.model import Model
from sklearn.linear_model import Ridge


def init():
    global model
    print("loading", time.strftime("%H:%M:%S"))
    model = joblib.load(Model.get_model_path(model_name='scale'))


def run(raw_data):
    try:
        rows = numpy.array(json.loads(raw_data)['data'])
        return json.dumps({"result": model.predict(rows).tolist()})
    except Exception as e:
        return json.dumps({"error": str(e)})


if __name__ == "__main__":
    init()
    print(run('{"data": [[1, 2]]}'))
