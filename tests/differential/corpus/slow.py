"""Sleeps for as many seconds as it is told."""

import time


def init():
    pass


def run(data):
    time.sleep(float(data))
    return "done"
