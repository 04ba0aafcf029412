"""A manifest repo on a stage: copied, committed, and played through the real command line."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests import prefork

EXAMPLES = Path(__file__).parents[2] / "examples"
HERE = Path(__file__).parent
LEFT_OUT = shutil.ignore_patterns("next", "__pycache__")
IDENTITY = {
    "GIT_AUTHOR_NAME": "Reader",
    "GIT_AUTHOR_EMAIL": "reader@example.com",
    "GIT_COMMITTER_NAME": "Reader",
    "GIT_COMMITTER_EMAIL": "reader@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "NO_COLOR": "1",
}
Done = subprocess.CompletedProcess[str]


@dataclass
class Stage:
    """A repo with a state directory of its own, both below a temporary folder.

    Args:
        root: The temporary folder.
        extra: Further variables of the commands.
    """

    root: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def repo(self) -> Path:
        """The working copy."""
        return self.root / "manifests"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.root / "state"

    def copy(self, example: Path) -> None:
        """Makes the repo out of an example."""
        shutil.copytree(example, self.repo, ignore=LEFT_OUT)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("Serve")

    def git(self, *words: str) -> None:
        """Runs git in the repo."""
        subprocess.run(["git", *words], cwd=self.repo, env={**os.environ, **IDENTITY}, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        """Commits everything."""
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "-m", message)

    def write(self, path: str, text: str, message: str) -> None:
        """Commits one changed file."""
        (self.repo / path).write_text(text)
        self.commit(message)

    def __call__(self, *words: str, **extra: str) -> Done:
        """Runs `reconciler …` in the repo."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
        own = {"RECONCILER_STATE_DIR": str(self.state), **self.extra, **extra}
        return prefork.run("reconciler", words, self.repo, {**kept, **IDENTITY, **own}, timeout=800)

    def good(self, *words: str, **extra: str) -> str:
        """What a command that has to succeed prints."""
        done = self(*words, **extra)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def score(self, service: str, data: object) -> Any:
        """The answer to JSON."""
        return json.loads(self.good("score", service, "--data", json.dumps(data)))

    def address(self, service: str) -> tuple[str, int]:
        """Where a service answers."""
        report = json.loads(self.good("status", service, "-o", "json"))
        outputs = report["resources"][0]["outputs"]
        return outputs["host"], outputs["port"]

    def key(self, service: str) -> str:
        """The service's first key."""
        return self.good("keys", service, "--show").split()[1]

    def ask(
        self, service: str, path: str, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of a request to a service."""
        return ask(self.address(service), path, method, body, headers)

    def processes(self) -> list[str]:
        """Command lines of everything that still runs out of the state directory."""
        found = [psutil.Process(p.pid) for p in psutil.process_iter() if str(self.root) in _line(p)]
        return [_line(process) for process in found]

    def end(self) -> None:
        """Takes away what an act left."""
        if self.repo.exists():
            self("destroy", "--all", "--yes")


def ask(
    address: tuple[str, int],
    path: str,
    method: str = "GET",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of a request."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def closed(address: tuple[str, int]) -> bool:
    """Whether nobody listens there any more."""
    with socket.socket() as probe:
        return probe.connect_ex(address) != 0


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
