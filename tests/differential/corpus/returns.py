"""Every kind of value that a script may return."""

import datetime
import decimal

import numpy as np

VALUES = {
    "none": None,
    "str": "text",
    "json-str": '{"a": 1}',
    "empty-str": "",
    "unicode": "grüße ☃",
    "list": [1, "two", None],
    "dict": {"a": {"b": [1.5]}},
    "tuple": (1, 2),
    "int": 3,
    "float": 2.5,
    "bool": True,
    "nan": float("nan"),
    "inf": [float("inf"), -float("inf")],
    "ndarray": np.array([[1.5, 2.5]]),
    "np-int": np.int64(7),
    "np-float": np.float64(0.5),
    "np-in-list": [np.float32(0.5)],
    "bytes": b"raw",
    "set": {1},
    "date": datetime.date(2020, 1, 2),
    "decimal": decimal.Decimal("1.5"),
    "int-keys": {1: "one"},
    "tuple-keys": {(1, 2): "pair"},
}


def init():
    pass


def run(data):
    if data == "generator":
        return (x for x in [1, 2])
    return VALUES[data]
