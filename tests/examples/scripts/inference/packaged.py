# A package of one's own beside the script, a file read from the working directory, a variable of the deployment.
import json
import os
import sys

sys.path.append(os.path.dirname(os.path.realpath(__file__)))

from lib.text import count


def init():
    global stop, least
    with open("labels/stop.txt") as lines:
        stop = set(lines.read().split())
    least = int(os.environ["LEAST_LENGTH"])


def run(data):
    return count(json.loads(data)["text"], stop, least)
