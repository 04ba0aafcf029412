"""Bulk work without the cyclic garbage collector looking at all of it again and again."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Generator[None]:
    """Pauses the collector: thousands of documents make millions of objects and no cycles, and passes over them took
    half of the time of loading 10,000. Nested or concurrent use is harmless: whoever found it running starts it again.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
