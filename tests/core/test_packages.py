"""Packages that threads import when they first need them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BOTH = """
import sys, threading
from reconciler.containers.engine import Engine
from reconciler.containers.place import EnginePlace
from reconciler.core.errors import UnavailableError
from reconciler.targets.aks.connection import Connection

docker_begun, kubernetes_begun = threading.Event(), threading.Event()
seen = []

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "docker":
            docker_begun.set()
            # Long enough for the other thread to begin, if it may.
            seen.append(kubernetes_begun.wait(2))
        if name == "kubernetes":
            kubernetes_begun.set()

def contain():
    with Engine(EnginePlace("unix:///nowhere")).calls("a test"):
        pass

def cluster():
    docker_begun.wait(60)
    try:
        Connection("a cluster", "/nowhere", "", None, None).client()
    except UnavailableError:
        pass

sys.meta_path.insert(0, Finder())
threads = [threading.Thread(target=contain), threading.Thread(target=cluster)]
for one in threads: one.start()
for one in threads: one.join()
print(seen, kubernetes_begun.is_set())
"""


def test_one_thread_at_a_time_imports_packages_that_share_others() -> None:
    """What docker and kubernetes both import is never met half-made, whichever target is looked at first."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", BOTH], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[False] True", done.stdout + done.stderr
