"""`run` takes what servers cannot give."""


def init():
    pass


def run(*args):
    return list(args)
