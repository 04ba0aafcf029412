"""A manifest repo of services that all run one small finished image, and a daemon over it."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.containers.engine import engine, remove_all, standin

RECONCILER = Path(sys.executable).with_name("reconciler")
PATIENCE = 180.0


class Ready:
    """A manifest repo whose services all run one small finished image, on a target of its own.

    Args:
        folder: For the repo and the state.
        block: More of the target's `local` block, as YAML in one line.
        environment: More variables for its commands; where they name another engine, what stands there is its owner's.
    """

    def __init__(self, folder: Path, block: str = "", **environment: str) -> None:
        engine().close()
        self.image = standin()
        self.target = f"t{secrets.token_hex(4)}"
        self.repo = folder / "repo"
        self.folder = folder
        own = {"RECONCILER_STATE_DIR": str(folder / "state"), "NO_COLOR": "1"}
        self.environment = {**os.environ, **own, **environment}
        self._write(
            "inference/ready.yaml",
            "kind: InferenceConfig\nmetadata: {name: ready}\n"
            f"spec: {{image: '{self.image}', entryScript: score.py, sourceDirectory: inference}}\n",
        )
        (self.repo / "inference" / "score.py").write_text("def init(): pass\ndef run(data): return data\n")
        self._write(
            f"targets/{self.target}.yaml",
            f"kind: Target\nmetadata: {{name: {self.target}}}\n"
            f"spec: {{type: local, local: {{engine: docker{block and ', '}{block}}}}}\n",
        )
        self.git("init", "-q", "-b", "main")

    def _write(self, path: str, text: str) -> None:
        file = self.repo / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("apiVersion: reconciler/v1\n" + text)

    def git(self, *words: str) -> None:
        """A git command in the repo."""
        identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
        subprocess.run(["git", *identity, *words], cwd=self.repo, check=True, capture_output=True)

    def services(self, many: int, answer: str = "first") -> None:
        """Commits so many services, which give one answer, and no others."""
        shutil.rmtree(self.repo / "services", ignore_errors=True)
        for number in range(many):
            self._write(
                f"services/s{number:03d}.yaml",
                f"kind: Service\nmetadata: {{name: s{number:03d}}}\nspec:\n  target: {self.target}\n  models: []\n"
                f"  inference: ready\n  deployment: {{environmentVariables: {{ANSWER: {answer}}}, memoryGb: 0.25}}\n",
            )
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", f"{many} services, {answer}")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A reconciler command, under way."""
        return subprocess.Popen(
            [RECONCILER, *words],
            cwd=self.repo,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0) -> str:
        """What a reconciler command prints; fails if it ends with another exit code."""
        process = self.start(*words)
        out, err = process.communicate()
        if process.returncode != code:
            raise RuntimeError(f"reconciler {' '.join(words)}: {process.returncode}\n{out[-2000:]}{err[-2000:]}")
        return out + err if code else out

    def url(self, service: str) -> str:
        """Where a service answers."""
        found = json.loads(self.run("status", "-o", "json"))["services"]
        return next(s["url"] for s in found if s["name"] == service)

    def close(self) -> None:
        """Takes away what stands on the engine."""
        remove_all(f"{self.target}.")

    @contextmanager
    def daemon(self, full_look_seconds: float) -> Iterator[Daemon]:
        """A daemon over the repo, up and with every service healthy."""
        daemon = Daemon(self, full_look_seconds)
        try:
            daemon.first(lambda line: line["event"] == "reconcile" and line["health"].keys() == {"Healthy"})
            yield daemon
        finally:
            daemon.process.send_signal(signal.SIGTERM)
            daemon.process.wait(60)


class Watched(Protocol):
    """What a daemon is started for."""

    target: str
    folder: Path
    repo: Path
    environment: dict[str, str]


class Daemon:
    """A daemon process with its log of JSON lines."""

    def __init__(self, shop: Watched, full_look_seconds: float) -> None:
        self._target = shop.target
        self._log = shop.folder / f"log-{time.monotonic_ns()}"
        environment = {**shop.environment, "RECONCILER_DAEMON__FULL_LOOK_SECONDS": str(full_look_seconds)}
        with self._log.open("w") as log:
            command = [RECONCILER, "run", "--listen", "127.0.0.1:0", "--log-format", "json"]
            self.process = subprocess.Popen(command, cwd=shop.repo, stderr=log, env=environment)

    def lines(self, since: float = 0.0) -> list[dict]:
        """What it said of its target after a Unix time."""
        told = [json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}")]
        about = [line for line in told if f"{line.get('target') or line.get('id', '')}/".startswith(f"{self._target}/")]
        return [line for line in about if at(line) >= since]

    def first(self, wanted: Callable[[dict], bool], since: float = 0.0) -> dict:
        """The first line that meets a condition, once there is one."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit and self.process.poll() is None:
            for line in self.lines(since):
                if wanted(line):
                    return line
            time.sleep(0.02)
        raise RuntimeError(f"the daemon did not say it: {self._log.read_text()[-800:]}")

    def looks(self, many: int) -> list[float]:
        """Seconds of so many reconciles without changes, while nothing else happens."""
        began = time.time()

        def quiet(line: dict) -> bool:
            return line["event"] == "reconcile" and not line["changes"] and line["outcome"] == "in sync"

        self.first(lambda line: len([x for x in self.lines(began) if quiet(x)]) > many, began)
        return [line["seconds"] for line in self.lines(began) if quiet(line)][1:]


def at(line: dict) -> float:
    """When a log line was written, as a Unix time."""
    return datetime.datetime.fromisoformat(line["timestamp"]).timestamp()
