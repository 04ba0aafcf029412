"""Optional parameters with defaults."""

from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema


def init():
    pass


@input_schema("data", StandardPythonParameterType([1]))
@input_schema("method", StandardPythonParameterType("predict"), optional=True)
def run(data, method="predict"):
    return {"data": data, "method": method}
