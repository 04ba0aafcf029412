"""What an installation looks like from outside: commands, a repo, a state directory, and what stands in them."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import prefork
from tests.cli.conftest import environment, git
from tests.daemon.rig import until

# What a command may write although nothing is to do: who holds the lease, and when somebody last looked.
VOLATILE = {"lease", "requests", "meta"}
SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"


def service(name: str, **spec: Any) -> str:
    """A service's manifest, JSON being YAML."""
    body = {"target": "local", "inference": "echo", "auth": {"enabled": False}, **spec}
    return json.dumps({"apiVersion": "reconciler/v1", "kind": "Service", "metadata": {"name": name}, "spec": body})


def inference(name: str = "echo", **spec: Any) -> str:
    """An inference config's manifest."""
    body = {"entryScript": "inference/score.py", **spec}
    return json.dumps(
        {"apiVersion": "reconciler/v1", "kind": "InferenceConfig", "metadata": {"name": name}, "spec": body}
    )


@dataclass
class Home:
    """One person's repo and state directory, and the commands they give."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict[str, str])
    said: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.repo = self.folder / "repo"
        self.state = self.folder / "state"
        self.settings = self.folder / "settings.yaml"
        if not self.repo.exists():
            self.repo.mkdir()
            git(self.repo, "init", "-q", "-b", "main")
            self.write({"inference/score.py": SCRIPT, "inference/echo.yaml": inference()})

    def write(self, files: Mapping[str, str | bytes | None], message: str = "Change") -> None:
        """Commits files; None takes one away."""
        for name, content in files.items():
            path = self.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        git(self.repo, "add", "--all", ".")
        git(self.repo, "commit", "-q", "--allow-empty", "-m", message)

    @property
    def environ(self) -> dict[str, str]:
        """The variables of its commands."""
        extra = {"RECONCILER_SETTINGS": str(self.settings)} if self.settings.exists() else {}
        return environment(self.state, {**extra, **self.variables})

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """Begins a command in the repo."""
        return subprocess.Popen(
            [sys.executable, "-m", "reconciler", *words],
            cwd=self.repo,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            text=True,
            **more,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the repo, to its end."""
        done = prefork.run("reconciler", words, self.repo, self.environ)
        self.said += [done.stdout, done.stderr]
        return done

    def ok(self, *words: str) -> str:
        """What a command prints that has to end with 0."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        """What a command gives as JSON."""
        return json.loads(self.run(*words, "-o", "json").stdout)

    def record(self) -> dict[str, list[Any]]:
        """Every row of the store that is about resources, services and what was done."""
        path = self.state / "state.db"
        if not path.exists():
            return {}
        with closing(sqlite3.connect(path)) as database:
            tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
            return {t: database.execute(f"select * from {t}").fetchall() for t in tables if t not in VOLATILE}

    def target(self) -> dict[str, tuple[int, int]]:
        """Every file of the services and registries with its size and time, but for what a worker writes by itself."""
        found: dict[str, tuple[int, int]] = {}
        for part in ("services", "models", "model-roots", "environments"):
            for path in sorted((self.state / part).rglob("*")):
                own = path.name == "metrics" or path.name.startswith("log")
                if "venv" in path.parts or own or path.is_socket():
                    continue
                status = path.lstat()
                found[str(path.relative_to(self.state))] = (status.st_size, status.st_mtime_ns)
        return found

    @contextmanager
    def daemon(self, *words: str) -> Iterator[Daemon]:
        """A daemon on the repo, ended with SIGTERM."""
        with self.start("run", "--listen", "127.0.0.1:0", "--log-format", "json", *words, stderr=subprocess.PIPE) as p:
            daemon = Daemon(p)
            try:
                yield daemon
            finally:
                p.send_signal(signal.SIGTERM)
                p.wait(60)
                daemon.reader.join()
                self.said.append("".join(daemon.lines))


@dataclass
class Daemon:
    """A daemon at work, and the lines of its log so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under a name."""
        found = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [event for event in found if event.get("event") == name]

    def until(self, name: str, **fields: Any) -> dict[str, Any]:
        """The first event of that name with these fields."""

        def found() -> list[dict[str, Any]]:
            assert self.process.poll() is None, "".join(self.lines)
            return [event for event in self.events(name) if fields.items() <= event.items()]

        return until(found)[0]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A repo without services; what was deployed is destroyed afterwards."""
    made = Home(tmp_path)
    yield made
    if (made.state / "services").exists():
        made.settings.unlink(missing_ok=True)
        made.run("destroy", "--all", "--yes")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kill(pid: int) -> None:
    """kill -9, and waits until the process is gone."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes())


__all__ = ["SCRIPT", "Daemon", "Home", "free_port", "inference", "kill", "service", "until"]
