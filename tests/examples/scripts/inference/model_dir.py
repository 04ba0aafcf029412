# The model's file below AZUREML_MODEL_DIR, results as a list, errors as a text, log lines by print and logging.
import json
import logging
import os

import joblib
import numpy as np

logging.basicConfig(level=logging.INFO)


def init():
    global model
    path = os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'scale.pkl')
    model = joblib.load(path)
    logging.info("init done")


def run(raw_data):
    try:
        print("run with", len(raw_data), "characters")
        data = json.loads(raw_data)['data']
        result = model.predict(np.array(data))
        return result.tolist()
    except Exception as e:
        logging.exception("run failed")
        error = str(e)
        return error
