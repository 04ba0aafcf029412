# Data collection of both generations: it keeps nothing here, and the script goes on.
import json

import joblib
import pandas as pd
from azureml.ai.monitoring import Collector
from azureml.ai.monitoring.context import BasicCorrelationContext
from azureml.core.model import Model
from azureml.monitoring import ModelDataCollector


def init():
    global model, inputs, predictions, modern
    model = joblib.load(Model.get_model_path('scale'))
    inputs = ModelDataCollector("scale", designation="inputs", feature_names=["a", "b"])
    predictions = ModelDataCollector("scale", designation="predictions", feature_names=["out"])
    modern = Collector(name="model_inputs", on_error=lambda e: print("ex:{}".format(e)))


def run(raw_data):
    data = json.loads(raw_data)["data"]
    result = model.predict(data)
    inputs.collect(data)
    predictions.collect(result)
    context = modern.collect(pd.DataFrame(data), BasicCorrelationContext(id="42"))
    modern.collect(pd.DataFrame(result), context)
    return result.tolist()
