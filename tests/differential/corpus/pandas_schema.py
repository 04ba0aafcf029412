"""A data frame with numbers, text and dates."""

import pandas as pd
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.schema_decorators import input_schema

sample = pd.DataFrame({"age": [41], "name": ["a"], "when": pd.to_datetime(["2020-01-02"])})


def init():
    pass


@input_schema("data", PandasParameterType(sample))
def run(data):
    return {"rows": len(data), "columns": list(data.columns), "mean": float(data["age"].mean())}
