"""An image service: bytes in, bytes out, with headers of its own."""

from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request: AMLRequest):
    if request.method == "POST":
        return AMLResponse(request.get_data()[::-1], 201, {"Content-Type": "image/png", "X-Many": "a, b"})
    if request.method == "GET":
        return AMLResponse(str.encode(request.full_path), 200)
    return AMLResponse("bad request", 500)
