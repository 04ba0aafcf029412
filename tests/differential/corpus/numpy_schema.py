"""The documented scikit-learn script: a numpy schema on the way in and out."""

import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge


def init():
    global model
    features, target = load_diabetes(return_X_y=True)
    model = Ridge(random_state=0).fit(features, target)


@input_schema("data", NumpyParameterType(np.array([[0.1] * 10])))
@output_schema(NumpyParameterType(np.array([100.0])))
def run(data):
    return model.predict(data).tolist()
