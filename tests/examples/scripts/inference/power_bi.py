# Inputs and GlobalParameters, the names that Power BI and the studio send.
import joblib
import numpy as np
from azureml.core.model import Model
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema

inputs = StandardPythonParameterType({'input1': NumpyParameterType(np.array([[1.0, 2.0]]))})
parameters = StandardPythonParameterType(1.0)
outputs = StandardPythonParameterType({'Results': NumpyParameterType(np.array([3.0]))})


def init():
    global model
    model = joblib.load(Model.get_model_path('scale'))


@input_schema('Inputs', inputs)
@input_schema('GlobalParameters', parameters)
@output_schema(outputs)
def run(Inputs, GlobalParameters):
    data = Inputs['input1']
    assert isinstance(data, np.ndarray)
    return (model.predict(data) * GlobalParameters).tolist()
