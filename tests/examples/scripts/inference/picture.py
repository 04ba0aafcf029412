# A picture as a form's file, or as the body; the size comes back.
import io
import json

from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse
from PIL import Image


def init():
    print("This is init()")


@rawhttp
def run(request):
    print("Request: [{0}]".format(request))
    if request.method == 'GET':
        return AMLResponse(str.encode(request.full_path), 200)
    if request.method == 'POST':
        sent = request.files["image"] if "image" in request.files else io.BytesIO(request.get_data(False))
        picture = Image.open(sent).convert('RGB')
        return AMLResponse(json.dumps(picture.size), 200)
    return AMLResponse("bad request", 500)
