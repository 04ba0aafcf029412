"""`init` fails."""


def init():
    raise FileNotFoundError("model.pkl")


def run(data):
    return data
