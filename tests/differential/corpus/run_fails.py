"""`run` fails in several ways."""


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("even this fails")


def init():
    pass


def run(data):
    if data == "timeout":
        raise TimeoutError("a database did not answer")
    if data == "exit":
        raise SystemExit(1)
    if data == "base":
        raise BaseException("not an Exception")
    if data == "unprintable":
        raise Unprintable
    if data == "recursion":
        return run(data)
    return 1 / 0
