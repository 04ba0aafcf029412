"""Takes a picture as it is (PGM, binary or text) in the body of a request, and says how bright it is."""

import json
import os
import re
from pathlib import Path

from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse


def init():
    global limits
    limits = json.loads(next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("threshold.json")).read_text())


@rawhttp
def run(request):
    if request.method != "POST":
        return AMLResponse({"message": "send a PGM picture in the body"}, 405, json_str=True)
    try:
        grey = brightness(request.get_data(False))
    except (ValueError, ZeroDivisionError):
        return AMLResponse({"message": "this is not a PGM picture"}, 400, json_str=True)
    word = "dark" if grey < limits["dark_below"] else "bright" if grey > limits["bright_above"] else "medium"
    return AMLResponse({"brightness": grey, "is": word}, 200, json_str=True)


def brightness(data):
    """Mean grey value from 0 to 255 (http://netpbm.sourceforge.net/doc/pgm.html)."""
    header = re.match(rb"(P[25])\s+(\d+)\s+(\d+)\s+(\d+)\s", data)
    if header is None:
        raise ValueError("no header")
    width, height, most = (int(number) for number in header.groups()[1:])
    rest = data[header.end() :]
    pixels = list(rest) if header[1] == b"P5" else [int(word) for word in rest.split()]
    if len(pixels) != width * height:
        raise ValueError("cut off, or too long")
    return 255 * sum(pixels) / len(pixels) / most
