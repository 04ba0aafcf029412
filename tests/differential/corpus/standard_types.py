"""Standard Python objects, one parameter each."""

from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema


def init():
    pass


@input_schema("text", StandardPythonParameterType("hello"))
@input_schema("number", StandardPythonParameterType(1.5))
@input_schema("items", StandardPythonParameterType([1, 2]))
@input_schema("options", StandardPythonParameterType({"deep": True}))
@output_schema(StandardPythonParameterType({"seen": "x"}))
def run(text, number, items, options):
    return {"seen": f"{text} {number} {items} {options}"}
