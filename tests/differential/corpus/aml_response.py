"""Answers with status and headers from a script that is not raw."""

from azureml_inference_server_http.api.aml_response import AMLResponse


def init():
    pass


def run(data):
    if data == "none":
        return AMLResponse(None, 200)
    if data == "json":
        return AMLResponse({"a": 1}, 202, {"X-Mine": "1"}, json_str=True)
    if data == "teapot":
        return AMLResponse("short and stout", 418)
    if data == "failed":
        return AMLResponse("oh", 503)
    return AMLResponse(data, 200, {"Content-Type": "text/csv"})
