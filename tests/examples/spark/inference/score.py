# An entry script of the runtime spark-py: rows become a Spark data frame by the schema of a sample.
import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.spark_parameter_type import SparkParameterType
from inference_schema.schema_decorators import input_schema, output_schema
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.master("local[1]").appName("score").config("spark.ui.enabled", "false").getOrCreate()
sample = spark.createDataFrame([("a", 1.5)], ["name", "value"])


def init():
    global factor
    factor = 2


@input_schema("data", SparkParameterType(sample))
@output_schema(NumpyParameterType(np.array([3.0])))
def run(data):
    rows = data.groupBy("name").agg(F.sum("value").alias("total")).orderBy("name").collect()
    return {row["name"]: row["total"] * factor for row in rows}
