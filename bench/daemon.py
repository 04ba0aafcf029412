"""The daemon: from a commit and from a killed process to their detection, and what it needs of memory."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.planning import make_repo
from bench.row import Row, not_run

RECONCILER = Path(sys.executable).with_name("reconciler")
COMMITS = 21
KILLS = 3
MIB = 1024 * 1024
PATIENCE = 180.0

FILES = {
    "inference/score.py": "def init():\n    pass\n\n\ndef run(data):\n    return data\n",
    "inference/plain.yaml": "apiVersion: reconciler/v1\nkind: InferenceConfig\nmetadata: {name: plain}\n"
    "spec: {sourceDirectory: inference, entryScript: score.py}\n",
    "services/one.yaml": "apiVersion: reconciler/v1\nkind: Service\nmetadata: {name: one}\n"
    "spec: {target: local, models: [], inference: plain}\n",
}


def rows() -> list[Row]:
    """The rows of the table about the daemon."""
    folder = Path(tempfile.mkdtemp(prefix="reconciler-bench-"))
    try:
        return [*_detection(folder), *(_memory(folder, n, limit) for n, limit in ((1000, 150), (10_000, 400)))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Live:
    """A daemon process with its log of JSON lines."""

    def __init__(self, folder: Path) -> None:
        self.repo = folder / "repo"
        self.log = folder / "log"
        self.environment = {**os.environ, "RECONCILER_STATE_DIR": str(folder / "state")}
        for path, text in FILES.items():
            (self.repo / path).parent.mkdir(parents=True, exist_ok=True)
            (self.repo / path).write_text(text)
        self.git("init", "-q", "-b", "main")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "one service")
        command = [RECONCILER, "run", "--listen", "127.0.0.1:0", "--log-format", "json"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=self.repo, stderr=log, env=self.environment)

    def git(self, *args: str) -> str:
        command = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", *args]
        return subprocess.run(command, cwd=self.repo, check=True, capture_output=True, text=True).stdout.strip()

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def first(self, wanted: Callable[[dict], bool], since: float = 0.0) -> dict | None:
        """The first line that meets a condition and was written after a Unix time, once there is one."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit and self.process.poll() is None:
            for line in self.lines():
                if _at(line) >= since and wanted(line):
                    return line
            time.sleep(0.02)
        return None

    def worker(self) -> psutil.Process | None:
        """The process that answers requests, once it is there."""
        limit = time.monotonic() + 30.0
        while time.monotonic() < limit:
            for process in psutil.process_iter(["cmdline", "status"]):
                command = process.info["cmdline"] or []
                if "reconciler.serving" in command and str(self.repo.parent) in " ".join(command):
                    return process
            time.sleep(0.05)
        return None

    def healthy(self, since: float = 0.0) -> bool:
        return (
            self.first(lambda x: x["event"] == "reconcile" and x["health"] == {"Healthy": 1} and not x["drift"], since)
            is not None
        )

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        command = [RECONCILER, "destroy", "--all", "--yes"]
        subprocess.run(command, cwd=self.repo, env=self.environment, capture_output=True, check=False)


def _at(line: dict) -> float:
    return datetime.datetime.fromisoformat(line["timestamp"]).timestamp()


def _detection(folder: Path) -> list[Row]:
    commit, kill = "commit to detection, and to the reconcile's begin, p50", "worker process killed to detection"
    live = Live(folder)
    try:
        if not live.healthy():
            why = "no service came up: " + " ".join(line["event"] for line in live.lines()[-5:])
            return [not_run(commit, "-", "<= 0.1 s", why), not_run(kill, "-", "<= 1 s", why)]
        return [_commits(live, commit), _kills(live, kill)]
    finally:
        live.close()


def _commits(live: Live, what: str) -> Row:
    noticed: list[float] = []
    begun: list[float] = []
    for number in range(COMMITS):
        tree = live.git("rev-parse", "HEAD^{tree}")
        sha = live.git("commit-tree", tree, "-p", "HEAD", "-m", f"commit {number}")
        started = time.time()
        live.git("update-ref", "refs/heads/main", sha)
        short = f"main@{sha[:7]}"
        seen = live.first(lambda x, s=short: x["event"] == "revision" and x["revision"] == s, started)
        ran = live.first(
            lambda x, s=short: x["event"] == "reconcile" and x["revision"] == s and x["target"] == "local", started
        )
        if seen is None or ran is None:
            return not_run(what, "-", "<= 0.1 s", "a commit was not noticed")
        noticed.append(_at(seen) - started)
        begun.append(_at(ran) - ran["seconds"] - started)
    median = statistics.median(begun)
    note = f"slowest of {COMMITS}: {max(begun):.3f} s; measured from before `git update-ref` begins"
    measured = f"{statistics.median(noticed):.3f} s, {median:.3f} s"
    return Row(what, "-", "<= 0.1 s", measured, median <= 0.1, note)


def _kills(live: Live, what: str) -> Row:
    took: list[float] = []
    for _ in range(KILLS):
        worker = live.worker()
        if worker is None:
            return not_run(what, "-", "<= 1 s", "the service did not come back")
        started = time.time()
        worker.kill()
        told = live.first(lambda x: x["event"] == "target event" and "killed by signal 9" in x.get("text", ""), started)
        if told is None:
            told = live.first(lambda x: "killed by signal 9" in str(x.get("cause", "")), started)
        if told is None:
            return not_run(what, "-", "<= 1 s", "a kill was not noticed")
        took.append(_at(told) - started)
        live.healthy(_at(told))
    worst = max(took)
    return Row(what, "-", "<= 1 s", f"p50 {statistics.median(took):.3f} s, worst {worst:.3f} s", worst <= 1.0)


def _memory(folder: Path, services: int, limit: int) -> Row:
    what = f"daemon memory at {services:,} services"
    home = folder / f"memory-{services}"
    make_repo(home / "repo", services)
    command = [sys.executable, "-m", "bench.daemon_memory", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return not_run(what, "-", f"<= {limit} MiB", done.stderr.strip().splitlines()[-1][:120])
    told = json.loads(done.stdout.splitlines()[-1])
    note = (
        f"highest ever {told['peak']:.0f} MiB; first look {told['first']:.2f} s, a full one without changes "
        f"{told['full']:.2f} s, a commit that changes one file {told['one']:.2f} s (target in this process, as bytes)"
    )
    return Row(what, "-", f"<= {limit} MiB", f"{told['steady']:.0f} MiB", told["steady"] <= limit, note)
