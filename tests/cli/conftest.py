"""The command line from the outside: real processes, real repos, a state directory of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests import prefork

GIT = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(state: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a command: none of this process's settings."""
    # Compiled modules may be written: each command would compile everything anew otherwise.
    left_out = ("RECONCILER_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, **GIT, "RECONCILER_STATE_DIR": str(state), **(extra or {})}


def git(folder: Path, *words: str) -> str:
    """A git command's output."""
    done = subprocess.run(["git", *words], cwd=folder, env={**os.environ, **GIT}, check=True, capture_output=True)
    return done.stdout.decode()


def commit(folder: Path, message: str = "Change") -> None:
    """Commits everything."""
    git(folder, "add", "--all", ".")
    git(folder, "commit", "--quiet", "-m", message)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that does not exist yet."""
    return tmp_path / "state"


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `reconciler init` makes, made once."""
    folder = tmp_path_factory.mktemp("quickstart") / "repo"
    done = prefork.run("reconciler", ("init", str(folder)), folder.parent, environment(folder.parent / "unused"))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def repo(quickstart: Path, tmp_path: Path) -> Path:
    """A repo of the quickstart's manifests, committed."""
    return Path(shutil.copytree(quickstart, tmp_path / "repo"))


@pytest.fixture
def reconciler(state: Path, tmp_path: Path) -> Run:
    """Runs `reconciler …` in a folder, by default an empty one."""

    def run(*words: str, cwd: Path = tmp_path, **extra: str) -> subprocess.CompletedProcess[str]:
        return prefork.run("reconciler", words, cwd, environment(state, extra))

    return run


__all__ = ["Run", "commit", "environment", "git"]
