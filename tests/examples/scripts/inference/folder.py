# A model that is a folder of several files, as Keras and TensorFlow save them.
import json
import os

import numpy as np


def init():
    global weights, labels
    root = os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'digits')
    with open(os.path.join(root, 'architecture.json')) as text:
        layers = json.load(text)["layers"]
    stored = np.load(os.path.join(root, 'variables', 'weights.npz'))
    weights = [stored[name] for name in layers]
    with open(root + '/labels.txt') as lines:
        labels = lines.read().split()


def run(raw_data):
    out = np.array(json.loads(raw_data)['data'])
    for layer in weights:
        out = np.maximum(out @ layer, 0)
    best = np.argmax(out, axis=1)
    # numpy values in what is returned, as tutorials leave them
    return {"predictions": best, "labels": [labels[i] for i in best], "score": np.max(out)}
