"""The counters that the workers of one server share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from reconciler.serving.metrics import Metrics


def test_workers_that_start_together_each_get_their_place(tmp_path: Path):
    """However their starts interleave, the shared file grows and never shrinks."""
    workers = 8
    together = Barrier(workers)

    def start(file: Path, slot: int) -> Metrics:
        together.wait()
        return Metrics(file, slot)

    with ThreadPoolExecutor(workers) as pool:
        for number in range(60):
            file = tmp_path / str(number)
            started = list(pool.map(start, [file] * workers, range(workers)))
            started[-1].answered(200, 0.01)
            assert 'requests_total{code="200"} 1' in started[0].text("1")
