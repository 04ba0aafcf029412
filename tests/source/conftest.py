"""Real Git repositories for the tests of the source."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reconciler.source import Source, SourceSettings, open_source

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_ALLOW_PROTOCOL": "file:http",
}


class Repo:
    """A working copy to commit to."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", *options)
        self.git("config", "gc.auto", "0")

    def git(self, *arguments: str, stdin: bytes | None = None, **extra: str) -> str:
        """Runs git in it and returns what it said."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=ENVIRONMENT | extra,
            input=stdin,
            check=True,
            capture_output=True,
        )
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, files: dict[str, str | bytes]) -> None:
        """Writes files."""
        for path, data in files.items():
            full = self.folder / path
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(data if isinstance(data, bytes) else data.encode())

    def commit(self, files: dict[str, str | bytes] | None = None, message: str = "change") -> str:
        """Writes files, commits everything and returns the commit."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """An empty working copy."""
    return Repo(tmp_path / "repo")


class Opener:
    """Opens sources and closes them at the end of the test."""

    def __init__(self, cache: Path, stack: ExitStack) -> None:
        self.cache = cache
        self._stack = stack

    def __call__(self, location: Path | str, **settings: object) -> Source:
        source = open_source(SourceSettings(str(location), **settings), self.cache)  # type: ignore[arg-type]
        self._stack.callback(source.close)
        return source


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """A function that opens sources."""
    with ExitStack() as stack:
        yield Opener(tmp_path / "cache", stack)
