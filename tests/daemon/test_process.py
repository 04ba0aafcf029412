"""The daemon as a process: signals, a second one, a crash, and the service manager's datagrams."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.daemon.rig import Rig, service, until

ROOT = Path(__file__).parents[2]


class Process:
    """A daemon process with its log."""

    def __init__(self, folder: Path, number: int, **environment: str) -> None:
        self.log = folder / f"log{number}"
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.daemon.main", str(folder)],
                cwd=ROOT,
                stderr=stderr,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def lines(self, event: str) -> list[dict]:
        """The log's lines with an event."""
        told = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [line for line in told if line["event"] == event]

    def ended(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """The test's own view of the folder that daemons work on."""
    made = Rig(tmp_path, in_files=True)
    made.commit(service("a"))
    yield made
    made.close()


@pytest.fixture
def start(rig: Rig) -> Iterator:
    """Starts daemons, and ends those that are left."""
    started: list[Process] = []

    def one(**environment: str) -> Process:
        started.append(Process(rig.folder, len(started), **environment))
        return started[-1]

    yield one
    for each in started:
        each.process.kill()
        each.process.wait()


def test_sigterm_ends_it_cleanly_and_sighup_reloads(rig: Rig, start):
    """Exit code 0, the lease given back, the work done until then recorded; reloaded in between without a stop."""
    daemon = start()
    until(lambda: daemon.lines("reconcile"))
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.lines("settings reloaded"))
    rig.commit(service("a"), service("b"))
    until(lambda: "service/b" in rig.worlds["east"].names())
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended() == 0
    assert daemon.lines("daemon stopped")[0]["reason"] == "terminated"
    assert rig.store.holder() is None


def test_work_in_progress_is_handed_over_at_sigterm(rig: Rig, start):
    """Slow work does not hold it up: the intent stands for the next one."""
    rig.worlds["east"].slow("stage", 1e9)
    daemon = start()
    until(lambda: rig.worlds["east"].names())
    until(lambda: any(b.pending for b in rig.store.baselines().values()))
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended() == 0
    assert [b.pending.step for b in rig.store.baselines().values()] == ["stage"]


def test_sigint_ends_it_with_130(rig: Rig, start):
    """As design has it for everything that a person interrupts."""
    daemon = start()
    until(lambda: daemon.lines("reconcile"))
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.ended() == 130


def test_a_second_daemon_exits_with_14_and_the_first_goes_on(rig: Rig, start):
    """One writer for a state, and the message says where the other one is."""
    first = start()
    until(lambda: first.lines("reconcile"))
    second = start()
    assert second.ended() == 14
    assert f"pid {first.process.pid}" in second.lines("error")[0]["message"]
    assert httpx.get(f"http://{rig.store.holder().address}/readyz", trust_env=False).status_code == 200


def test_a_killed_daemon_leaves_its_lease_to_the_next(rig: Rig, start):
    """Nobody waits for a dead one's lease, and what it had begun is resumed, not done twice."""
    rig.worlds["east"].slow("stage", 1e9)
    first = start()
    until(lambda: rig.worlds["east"].names())
    first.process.kill()
    first.ended()
    rig.worlds["east"].slow("stage", 0)
    rig.worlds["east"].condition_staged("service/a", "running")
    second = start()
    until(lambda: second.lines("reconcile"))
    until(lambda: not any(b.pending for b in rig.store.baselines().values()))
    assert rig.worlds["east"].names() == ["service/a"]
    assert [op for op, _ in rig.worlds["east"].writes].count("promote") == 1


def test_the_service_manager_is_told(rig: Rig, start, tmp_path: Path):
    """READY when it works, signs of life for the watchdog, STOPPING when it ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(20)
        daemon = start(NOTIFY_SOCKET=str(tmp_path / "n"), WATCHDOG_USEC="400000")
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"WATCHDOG=1"
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.ended() == 0
        told = [manager.recv(100)]
        while told[-1] != b"STOPPING=1":
            told.append(manager.recv(100))
