"""A data frame in the orientation `split`, which Swagger 2 cannot describe."""

import pandas as pd
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.schema_decorators import input_schema

sample = pd.DataFrame({"age": [41], "name": ["a"]})


def init():
    pass


@input_schema("data", PandasParameterType(sample, orient="split"))
def run(data):
    return data["age"].tolist()
