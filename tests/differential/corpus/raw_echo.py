"""Raw requests with the package of the retired SDK: what arrives is what goes back."""

from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request):
    seen = {
        "method": request.method,
        "path": request.path,
        "full_path": request.full_path,
        "args": request.args.to_dict(flat=False),
        "form": request.form.to_dict(flat=False),
        "files": {name: len(file.read()) for name, file in request.files.items()},
        "content_type": request.content_type,
        "mine": request.headers.get("X-Mine"),
        "cookie": request.cookies.get("a"),
        "is_json": request.is_json,
        "body": request.get_data().decode("latin-1"),
    }
    return AMLResponse(seen, 200, json_str=True)
