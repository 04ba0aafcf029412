"""A nested schema: numpy and pandas inside a dictionary."""

import numpy as np
import pandas as pd
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema

sample = {
    "array": NumpyParameterType(np.array([[1.0, 2.0]])),
    "frame": PandasParameterType(pd.DataFrame({"a": [1]})),
    "plain": StandardPythonParameterType(1),
}


def init():
    pass


@input_schema("inputs", StandardPythonParameterType(sample))
def run(inputs):
    return {"shape": list(inputs["array"].shape), "sum": int(inputs["frame"]["a"].sum()), "plain": inputs["plain"]}
