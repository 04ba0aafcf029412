"""Makes the model of this example: logistic regression on scikit-learn's iris data, written as an ONNX graph.

Needs scikit-learn and onnx.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

X, y = load_iris(return_X_y=True)
trained = LogisticRegression(max_iter=1000).fit(X, y)
graph = helper.make_graph(
    [
        helper.make_node("Gemm", ["flowers", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["species"], axis=1, keepdims=0),
    ],
    "iris",
    [helper.make_tensor_value_info("flowers", TensorProto.FLOAT, ["rows", 4])],
    [
        helper.make_tensor_value_info("species", TensorProto.INT64, ["rows"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 3]),
    ],
    [
        numpy_helper.from_array(trained.coef_.T.astype(np.float32), "weights"),
        numpy_helper.from_array(trained.intercept_.astype(np.float32), "bias"),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, Path(__file__).parent / "models" / "iris.onnx")
