"""Counters of the workers and their Prometheus text form.

All numbers of a worker stand in one slot of an array of doubles. Alone, the array is plain memory; with several
workers it is a file mapped by each, so that any worker can answer `/metrics` for all of them without a library.
Only the event loop's thread writes, and each worker only its own slot. A restarted worker goes on in its slot, so
that counters never fall.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import StartError

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STATUSES = 600
REASONS = ("starting", "draining", "queue", "overdue", "key", "body_size", "body_timeout", "memory")

_CODES = 0
_TIME = _CODES + STATUSES
_TIME_SUM = _TIME + len(BUCKETS) + 1
_RUN = _TIME_SUM + 1
_RUN_SUM = _RUN + len(BUCKETS) + 1
_REFUSED = _RUN_SUM + 1
_FAILED = _REFUSED + len(REASONS)
_TIMEOUTS = _FAILED + 1
_GAUGES = _TIMEOUTS + 1
GAUGES = ("in_flight", "queue_depth", "busy_ratio", "init_seconds", "ready")
SLOT = _GAUGES + len(GAUGES)

PREFIX = "reconciler_serving"


class Metrics:
    """The numbers of this worker, and the way to print those of all.

    Args:
        file: shared by the workers of one server, or None for one worker alone. It grows to hold `slot`.
        slot: this worker's place, from 0.
    """

    def __init__(self, file: Path | None = None, slot: int = 0) -> None:
        self._slots = slot + 1
        self._file = file
        self._slot = slot
        if file is None:
            whole = memoryview(bytearray(SLOT * 8 * (slot + 1)))
        else:
            try:
                whole = memoryview(_map(file, slot + 1))
            except OSError as error:
                raise StartError(f"metrics file {file} cannot be used: {error.strerror}", exit_code=4) from None
        self._mine = whole[SLOT * 8 * slot : SLOT * 8 * (slot + 1)].cast("d")
        for name in GAUGES:
            self.gauge(name, 0.0)

    def answered(self, status: int, seconds: float) -> None:
        """Count one answered scoring request and its time from first header byte to last body byte."""
        mine = self._mine
        mine[_CODES + status] += 1
        mine[_TIME + bisect_left(BUCKETS, seconds)] += 1
        mine[_TIME_SUM] += seconds

    def ran(self, seconds: float, failed: bool) -> None:
        """Count one call of `run()`."""
        mine = self._mine
        mine[_RUN + bisect_left(BUCKETS, seconds)] += 1
        mine[_RUN_SUM] += seconds
        if failed:
            mine[_FAILED] += 1

    def refused(self, reason: str) -> None:
        """Count one request turned away before `run()`; `reason` is one of `REASONS`."""
        self._mine[_REFUSED + REASONS.index(reason)] += 1

    def timed_out(self) -> None:
        """Count one `run()` that took longer than allowed."""
        self._mine[_TIMEOUTS] += 1

    def gauge(self, name: str, value: float) -> None:
        """Set one of `GAUGES`."""
        self._mine[_GAUGES + GAUGES.index(name)] = value

    def text(self, version: str) -> str:
        """Prometheus text exposition (format 0.0.4) of all workers together; gauges are given per worker."""
        slots = self._all()
        total = [sum(column) for column in zip(*slots, strict=True)]
        out: list[str] = []

        def head(name: str, kind: str, words: str) -> str:
            full = f"{PREFIX}_{name}"
            out.extend((f"# HELP {full} {words}", f"# TYPE {full} {kind}"))
            return full

        name = head("info", "gauge", "Version of the scoring runtime.")
        out.append(f'{name}{{version="{version}"}} 1')
        name = head("requests_total", "counter", "Scoring requests by status code.")
        out.extend(f'{name}{{code="{code}"}} {total[code]:.0f}' for code in range(100, STATUSES) if total[code])
        name = head("request_duration_seconds", "histogram", "Time from a scoring request's headers to its answer.")
        out.extend(_histogram(name, total[_TIME:_TIME_SUM], total[_TIME_SUM]))
        name = head("run_duration_seconds", "histogram", "Time inside run(); its sum is the time the script was busy.")
        out.extend(_histogram(name, total[_RUN:_RUN_SUM], total[_RUN_SUM]))
        name = head("run_failures_total", "counter", "Calls of run() that raised.")
        out.append(f"{name} {total[_FAILED]:.0f}")
        name = head("run_timeouts_total", "counter", "Calls of run() that took longer than allowed.")
        out.append(f"{name} {total[_TIMEOUTS]:.0f}")
        name = head("refused_total", "counter", "Scoring requests turned away before run(), by reason.")
        out.extend(f'{name}{{reason="{r}"}} {total[_REFUSED + i]:.0f}' for i, r in enumerate(REASONS))
        used = [(n, slot) for n, slot in enumerate(slots) if any(slot)]
        for index, (gauge, words) in enumerate(_GAUGE_WORDS.items()):
            name = head(gauge, "gauge", words)
            out.extend(f'{name}{{worker="{n}"}} {_number(slot[_GAUGES + index])}' for n, slot in used)
        return "\n".join(out) + "\n"

    def _all(self) -> list[Sequence[float]]:
        if self._file is None:
            return [self._mine.tolist()]
        with self._file.open("rb") as file:
            data = memoryview(file.read())
        count = len(data) // (SLOT * 8)
        return [data[SLOT * 8 * n : SLOT * 8 * (n + 1)].cast("d").tolist() for n in range(count)]


_GAUGE_WORDS = {
    "in_flight": "Scoring requests not yet answered.",
    "queue_depth": "Scoring requests waiting for run().",
    "busy_ratio": "Share of the last seconds that run() was busy, 0 to 1, over the allowed concurrency.",
    "init_seconds": "Time init() took, with the import of the entry script.",
    "ready": "1 if the worker takes requests.",
}


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _histogram(name: str, counts: Sequence[float], total: float) -> Iterable[str]:
    seen = 0.0
    for bound, count in zip((*BUCKETS, None), counts, strict=True):
        seen += count
        yield f'{name}_bucket{{le="{"+Inf" if bound is None else bound}"}} {seen:.0f}'
    yield f"{name}_sum {_number(total)}"
    yield f"{name}_count {seen:.0f}"


def _map(file: Path, slots: int) -> mmap.mmap:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        size = SLOT * 8 * slots
        # Writing the last byte of one's own place grows the file; truncating could shrink what another worker, starting
        # at the same time, has just grown.
        if os.fstat(descriptor).st_size < size:
            os.pwrite(descriptor, b"\0", size - 1)
        return mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)
