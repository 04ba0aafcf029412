# A data frame with types of its own, and a parameter beside it.
import os

import joblib
import pandas as pd
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema

sample = pd.DataFrame([{"age": 41.0, "weight": 70.5}])
method = StandardPythonParameterType("predict")


def init():
    global model
    model = joblib.load(os.path.join(os.environ["AZUREML_MODEL_DIR"], "scale.pkl"))


@input_schema("method", method, convert_to_provided_type=False)
@input_schema("data", PandasParameterType(sample, enforce_shape=False))
@output_schema(StandardPythonParameterType({"Results": [1.0]}))
def run(data, method="predict"):
    frame = data if method == "predict" else data * 0
    return {"Results": model.predict(frame.to_numpy()).tolist(), "columns": list(frame.columns)}
