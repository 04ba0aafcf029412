# An ONNX model found by name.
import json
import sys
import time

import numpy as np
import onnxruntime
from azureml.core.model import Model


def init():
    global session, input_name, output_name
    session = onnxruntime.InferenceSession(Model.get_model_path(model_name='iris'))
    input_name = session.get_inputs()[0].name
    output_name = session.get_outputs()[0].name


def preprocess(text):
    return np.array(json.loads(text)['data']).astype('float32')


def run(input_data):
    try:
        start = time.time()
        result = session.run([output_name], {input_name: preprocess(input_data)})
        return {"result": np.array(result[0]).tolist(), "time_in_sec": time.time() - start}
    except Exception as e:
        return {"error": str(e)}
