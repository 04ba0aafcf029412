# Schema decorators for numpy, as the advanced tutorials have them.
import joblib
import numpy as np
from azureml.core.model import Model
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema


def init():
    global model
    model = joblib.load(Model.get_model_path('scale'))


@input_schema('data', NumpyParameterType(np.array([[1.0, 2.0]])))
@output_schema(NumpyParameterType(np.array([3.0])))
def run(data):
    try:
        assert isinstance(data, np.ndarray)
        return model.predict(data).tolist()
    except Exception as e:
        return str(e)
