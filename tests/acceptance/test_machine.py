"""What happens to the machine: a full disk, a lost store, a lost identity, two installations, a killed command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import Home, inference, kill, service, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 80 MB; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Writes until only so many bytes are free; the file that takes the room."""
    path = folder / "fill"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    os.truncate(path, path.stat().st_size - free)
    return path


def pid_of(home: Home, name: str) -> int:
    """Of a service's supervisor."""
    return int(home.json("status", name)["resources"][0]["outputs"]["pid"])


def test_a_full_disk_stops_an_apply_and_nothing_else(small_disk: Path) -> None:
    """However little is left: a message, no fault of ours, the old version serves on; with room it goes through."""
    home = Home(small_disk)
    home.write({"services/one.yaml": service("one"), "inference/big.bin": os.urandom(3_000_000)})
    home.ok("apply")
    pid = pid_of(home, "one")
    try:
        home.write({"inference/echo.yaml": inference(entryScript="score.py", sourceDirectory="inference")})
        for free, code in ((0, 11), (40_000, 11), (100_000, None), (400_000, 12)):
            room = fill(small_disk, free)
            done = home.run("apply")
            told = done.stdout + done.stderr
            assert done.returncode in ((11, 12) if code is None else (code,)), (free, told)
            assert "internal error" not in told
            assert "Traceback" not in told
            assert "disk" in told or "space" in told
            room.unlink()
            assert home.ok("score", "one", "--data", "3").strip() == '"3"'
            assert pid_of(home, "one") == pid
        home.ok("apply")
        assert "nothing to do" in home.ok("apply")
    finally:
        home.run("destroy", "--all", "--yes")


def test_without_its_store_an_installation_adopts_what_runs(home: Home) -> None:
    """The database deleted, the next apply writes nothing at the target and nothing restarts."""
    home.write({"services/one.yaml": service("one")})
    home.ok("apply")
    pid, before = pid_of(home, "one"), home.target()
    for path in home.state.glob("state.db*"):
        path.unlink()
    assert "adopt" in home.ok("plan")
    home.ok("apply")
    assert (pid_of(home, "one"), home.target()) == (pid, before)
    rows = home.record()
    assert "nothing to do" in home.ok("apply")
    assert (home.record(), home.target()) == (rows, before)


def test_without_its_identity_everything_is_foreign_and_stays(home: Home) -> None:
    """Nothing is deleted or taken over unasked; the message says how to go on; with the file back all is as before."""
    home.write({"services/one.yaml": service("one")})
    home.ok("apply")
    pid, before = pid_of(home, "one"), home.target()
    kept = home.folder / "kept.json"
    shutil.move(home.state / "identity.json", kept)
    for path in home.state.glob("state.db*"):
        shutil.move(path, home.folder / path.name)
    done = home.run("apply")
    assert done.returncode == 13, done.stdout + done.stderr
    assert "adopt" in done.stdout + done.stderr
    home.write({"services/one.yaml": None})
    home.run("apply", "--allow-empty")
    home.run("apply", "--allow-empty")
    assert home.target() == before
    home.write({"services/one.yaml": service("one")})
    shutil.move(kept, home.state / "identity.json")
    for path in home.state.glob("state.db*"):
        path.unlink()
    for path in home.folder.glob("state.db*"):
        shutil.move(path, home.state / path.name)
    assert "nothing to do" in home.ok("apply")
    assert pid_of(home, "one") == pid


def test_a_second_command_waits_for_nobody_and_says_who_is_at_work(home: Home) -> None:
    """Beside a daemon on the same state a second daemon is refused with 14; killed, its lease is free at once."""
    home.write({"services/one.yaml": service("one")})
    with home.daemon() as daemon:
        daemon.until("reconcile")
        done = home.run("run", "--listen", "127.0.0.1:0")
        assert done.returncode == 14
        assert str(daemon.process.pid) in done.stderr
        kill(daemon.process.pid)
    assert home.run("apply").returncode == 0
    assert until(lambda: home.run("status").returncode == 0)


def test_a_daemon_that_hangs_loses_its_lease_to_the_next(home: Home) -> None:
    """Stopped in its tracks it is refused, then forced: the next writer has a higher number, and it ends with 14."""
    home.write({"services/one.yaml": service("one")})
    home.ok("apply")
    with home.daemon() as daemon:
        daemon.until("reconcile", target="local", outcome="in sync")
        (lease,) = home.json("lock", "list")["locks"]
        assert (lease["state"], lease["pid"]) == ("held", daemon.process.pid)
        os.kill(daemon.process.pid, signal.SIGSTOP)
        try:
            assert home.run("lock", "release", str(lease["id"])).returncode == 13
            home.ok("lock", "release", str(lease["id"]), "--force")
            home.write({"services/two.yaml": service("two")})
            home.ok("apply")
            (later,) = home.json("lock", "list")["locks"]
            assert later["id"] == lease["id"] + 2
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)
        assert daemon.process.wait(60) == 14
    assert "released" in [attempt["outcome"] for attempt in home.json("history")["attempts"]]
