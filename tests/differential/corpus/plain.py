"""The simplest script: text in, dictionary out."""

import json


def init():
    global factor
    factor = 2


def run(data):
    return {"doubled": [factor * x for x in json.loads(data)["data"]], "text": data}
