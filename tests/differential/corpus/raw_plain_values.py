"""A raw script may return plain values as well."""

from azureml_inference_server_http.api.aml_request import rawhttp


def init():
    pass


@rawhttp
def run(request):
    if request.args.get("fail"):
        raise ValueError("as asked")
    return {"json": request.get_json(silent=True)}
