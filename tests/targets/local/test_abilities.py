"""Events and logs."""

import os
import signal
import threading
import time
from pathlib import Path

from .harness import SCRIPT, score, until


class Watcher:
    """Collects what `watch` yields, with its time."""

    def __init__(self, driver):
        self.events = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(driver,))

    def _run(self, driver):
        for event in driver.watch(self._stop):
            self.events.append((time.monotonic(), event))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def after(self, began, words):
        """Seconds until an event with these words came."""
        at = until(lambda: next((at for at, event in self.events if at >= began and words in event), None))
        return at - began


def test_killed_worker_is_told_at_once(bench):
    """The end of a worker is an event within a second; the bench measures how soon."""
    seen = bench.deploy(bench.deployment())
    with Watcher(bench.driver) as watcher:
        _wait_until_watched(bench)
        began = time.monotonic()
        os.kill(seen.outputs["workers"][0], 9)
        assert watcher.after(began, "diabetes: worker 0") < 1.0


def test_what_happens_while_the_watch_begins_is_told(bench):
    """A supervisor tells nobody of what happens before it has read that somebody watches; its answer tells."""
    seen = bench.deploy(bench.deployment())
    os.kill(seen.outputs["pid"], signal.SIGSTOP)
    try:
        with Watcher(bench.driver) as watcher:
            _wait_until_watched(bench)
            began = time.monotonic()
            (worker,) = seen.outputs["workers"]
            os.kill(worker, 9)
            until(lambda: ") Z " in Path(f"/proc/{worker}/stat").read_text())
            os.kill(seen.outputs["pid"], signal.SIGCONT)
            watcher.after(began, "diabetes: worker 0")
    finally:
        os.kill(seen.outputs["pid"], signal.SIGCONT)


def test_killed_supervisor_is_told_at_once(bench):
    """So is the end of the supervisor itself."""
    seen = bench.deploy(bench.deployment())
    with Watcher(bench.driver) as watcher:
        _wait_until_watched(bench)
        began = time.monotonic()
        os.kill(seen.outputs["pid"], 9)
        assert watcher.after(began, "diabetes: its supervisor ended") < 1.0


def test_services_that_come_later_are_watched(bench):
    """A service staged while someone watches is watched, and so is one that another program started."""
    with Watcher(bench.driver) as watcher:
        began = time.monotonic()
        bench.deploy(bench.deployment())
        watcher.after(began, "promoted")
        first = bench.driver
        other = bench.restarted()
        bench.deploy(bench.deployment(name="other"))
        assert other is not first
        first.observe([])
        until(lambda: "other" in first._watches[0]._connections)
        os.kill(bench.observe("other").outputs["pid"], 9)
        watcher.after(began, "other: its supervisor ended")


def _wait_until_watched(bench):
    until(lambda: bench.driver._watches and "diabetes" in bench.driver._watches[0]._connections)


NOISY = """
def init(): pass

def run(data):
    for number in range(int(data)):
        print(f"line {number} " + "x" * 100)
    return "done"
"""


def test_log_is_rotated_and_read_across_files(bench):
    """The log stays within its limits, and its last lines are found across rotated files, in order."""
    seen = bench.deploy(bench.deployment(script=NOISY, block={"logMaxMb": 0.01, "logFiles": 3}))
    score(seen, b"1000")
    stop = threading.Event()
    lines = until(lambda: _tail(bench, 150, stop))
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line ")]
    assert numbers == list(range(1000 - len(numbers), 1000))
    assert len(numbers) > 140
    files = sorted(path.name for path in bench.folder().glob("service.log*"))
    assert files == ["service.log", "service.log.1", "service.log.2"]
    assert all(path.stat().st_size < 80_000 for path in bench.folder().glob("service.log*"))


def _tail(bench, lines, stop):
    found = list(bench.driver.logs(bench.id(), lines=lines, follow=False, stop=stop))
    return found if any(line.startswith("line 999 ") for line in found) else None


def test_log_is_followed_across_rotation(bench):
    """Following shows every new line once, also those written as the file is rotated."""
    seen = bench.deploy(bench.deployment(script=NOISY, block={"logMaxMb": 0.05, "logFiles": 9}))
    stop = threading.Event()
    lines = []
    follower = threading.Thread(
        target=lambda: lines.extend(bench.driver.logs(bench.id(), lines=0, follow=True, stop=stop))
    )
    follower.start()
    # Whatever was written before it follows is not new.
    until(lambda: score(seen, b"1") and lines)
    for _ in range(5):
        score(seen, b"200")
    expected = list(range(200)) * 5
    until(lambda: _numbers(lines)[-len(expected) :] == expected or not follower.is_alive())
    stop.set()
    follower.join(5)
    assert _numbers(lines)[-len(expected) :] == expected
    assert set(_numbers(lines)[: -len(expected)]) == {0}


def _numbers(lines):
    return [int(line.split()[1]) for line in list(lines) if line.startswith("line ")]


def test_no_log_of_what_is_not_there(bench):
    """Asking for the log of a service that does not exist gives nothing."""
    assert list(bench.driver.logs(bench.id(), lines=10, follow=False, stop=threading.Event())) == []


def test_deep_state_directory(tmp_path, standin):
    """A path too long for a socket works all the same."""
    from .harness import Bench

    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    bench = Bench(deep, standin)
    try:
        seen = bench.deploy(bench.deployment(script=SCRIPT))
        assert score(seen) == (200, SCRIPT and "one")
        bench.delete()
    finally:
        bench.clean_up()
