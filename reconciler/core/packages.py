"""Packages that are slow or optional are imported where they are first needed, which may be any thread.

Two threads that begin at different ends of packages that import each other (docker, kubernetes and azure all lead to
requests and urllib3) get modules that are imported by half, and keep them: Python gives up the lock of a module rather
than wait for itself. https://docs.python.org/3/reference/import.html#the-module-cache
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def importing() -> Generator[None]:
    """Around the first import of such packages: no other thread imports any meanwhile."""
    with _LOCK:
        yield
