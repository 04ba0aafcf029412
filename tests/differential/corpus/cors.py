"""A plain script, asked by browsers."""


def init():
    pass


def run(data):
    return data
