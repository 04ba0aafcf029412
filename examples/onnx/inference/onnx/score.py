"""Scores any ONNX model whose only input is a table of numbers."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime


def init():
    global session, entrance
    path = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("*.onnx"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    entrance = session.get_inputs()[0].name


def run(data):
    rows = np.asarray(json.loads(data)["data"], dtype=np.float32)
    answers = session.run(None, {entrance: rows})
    return {output.name: answer.tolist() for output, answer in zip(session.get_outputs(), answers)}
