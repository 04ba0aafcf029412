"""There is no `run`."""


def init():
    pass
