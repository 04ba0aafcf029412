"""The seed case of the retired SDK: old imports, and the model's path from the SDK."""

from azureml.core.model import Model
from sklearn.externals import joblib


def init():
    global path, dumps
    path = Model.get_model_path("ridge")
    dumps = joblib.dump


def run(data):
    return {"path": path.split("azureml-models")[-1], "joblib": dumps.__module__.split(".")[0]}
