"""A raw answer that is produced piece by piece."""

from azureml_inference_server_http.api.aml_request import rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request):
    return AMLResponse((f"piece {n}\n".encode() for n in range(5)), 200, {"Content-Type": "text/plain"})
