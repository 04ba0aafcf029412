"""uv as it is run: what it may see, what it prints, how its failures are read."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from reconciler.artifacts.environments.reasons import failure, point_out
from reconciler.artifacts.environments.requirements import Requirement
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.artifacts.environments.uv import Limits, Stopped, Uv
from reconciler.core.errors import (
    AccessError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.problems import Position

from .wheels import make_wheel

PATH = os.environ["PATH"]


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    """A minute, nothing that stops it, and some descriptor to inherit."""
    return Limits(time.monotonic() + 60, Event(), 2)


def test_environment_is_picked() -> None:
    """uv sees the variables about indexes, proxies, certificates and nothing else of the daemon's."""
    environ = {
        "PATH": "/bin",
        "HOME": "/root",
        "HTTPS_PROXY": "http://proxy",
        "UV_INDEX_CORP_PASSWORD": "hunter22",
        "SSL_CERT_FILE": "/ca",
        "AWS_SECRET_ACCESS_KEY": "no",
        "RECONCILER_STATE_DIR": "no",
        "PYTHONPATH": "no",
        "VIRTUAL_ENV": "no",
        "UV_PROJECT": "no",
        "UV_NO_VERIFY_HASHES": "no",
        "UV_CONSTRAINT": "no",
    }
    seen = Uv(EnvironmentSettings(), environ, Path()).environ
    assert "no" not in seen.values()
    assert {"PATH", "HOME", "HTTPS_PROXY", "UV_INDEX_CORP_PASSWORD", "SSL_CERT_FILE"} <= set(seen)


def test_pip_settings_serve() -> None:
    """A machine set up for pip alone works: its variables are translated, unless uv has its own."""
    pip = {"PIP_INDEX_URL": "http://a", "PIP_FIND_LINKS": "/x /y", "PIP_CERT": "/ca"}
    seen = Uv(EnvironmentSettings(), pip, Path()).environ
    assert (seen["UV_DEFAULT_INDEX"], seen["UV_FIND_LINKS"], seen["SSL_CERT_FILE"]) == ("http://a", "/x,/y", "/ca")
    assert "UV_DEFAULT_INDEX" not in Uv(EnvironmentSettings(), {**pip, "UV_INDEX_URL": "http://b"}, Path()).environ


def test_mask() -> None:
    """Addresses, index hosts, user names and passwords are masked in whatever uv says."""
    environ = {"UV_INDEX_CORP_PASSWORD": "hunter22", "UV_INDEX_URL": "https://robot:s3cret99@pypi.corp.example/simple"}
    text = Uv(EnvironmentSettings(), environ, Path()).mask(
        "\x1b[31merror\x1b[0m: https://x.y/z (hunter22) pypi.corp.example said robot s3cret99"
    )
    assert text == "error: (address) ((masked)) (masked) said (masked) (masked)"


def test_project_configuration_is_not_read(tmp_path: Path, limits: Limits) -> None:
    """A uv.toml or pyproject.toml in a folder above the state changes nothing; the operator's file does."""
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "tiny", "1.0")
    for name, text in {
        "repo/uv.toml": 'no-index = true\nfind-links = ["/nonexistent"]\n',
        "repo/pyproject.toml": '[tool.uv]\nconstraint-dependencies = ["tiny==9"]\n',
        "operator.toml": f'no-index = true\nfind-links = ["{wheels}"]\n',
        "repo/state/in.txt": "tiny\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    state = tmp_path / "repo" / "state"
    settings = EnvironmentSettings(config_file=tmp_path / "operator.toml", cache_dir=tmp_path / "cache")
    uv = Uv(settings, {"PATH": PATH, "HOME": str(tmp_path)}, state / ".uv")
    out = state / "out.txt"
    uv.run(["pip", "compile", str(state / "in.txt"), "-o", str(out), "--python", sys.executable], limits, print)
    assert "tiny==1.0" in out.read_text()


def test_users_configuration_is_found(tmp_path: Path, limits: Limits) -> None:
    """The user's own uv.toml is read as uv itself would read it."""
    config = tmp_path / ".config" / "uv" / "uv.toml"
    config.parent.mkdir(parents=True)
    config.write_text("no-such-setting = 1\n")
    uv = Uv(EnvironmentSettings(cache_dir=tmp_path), {"PATH": PATH, "HOME": str(tmp_path)}, tmp_path / "work")
    with pytest.raises(TargetError, match="no-such-setting"):
        uv.run(["venv", str(tmp_path / "v")], limits, print)


def test_stop_and_deadline(tmp_path: Path, limits: Limits) -> None:
    """A set stop event or a passed deadline ends uv."""
    uv = Uv(EnvironmentSettings(cache_dir=tmp_path), {"PATH": PATH, "HOME": str(tmp_path)}, tmp_path / "work")
    limits.stop.set()
    with pytest.raises(Stopped):
        uv.run(["venv", str(tmp_path / "v")], limits, print)
    with pytest.raises(UnavailableError, match="longer than allowed"):
        uv.run(["venv", str(tmp_path / "v")], Limits(0.0, Event(), 2), print)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (2, "error: Request failed after 3 retries in 10.9s\n  cause: Failed to fetch: (address)", UnavailableError),
        (1, "hint: Packages were unavailable because the network was disabled.", UnavailableError),
        (2, "error: Failed to fetch: (address)\n  cause: HTTP status client error (401 Unauthorized)", AccessError),
        (2, "error: Failed to fetch: (address)\n  cause: HTTP status client error (403 Forbidden)", AccessError),
        (2, "error: HTTP status client error (429 Too Many Requests) for url", ThrottledError),
        (2, "error: HTTP status server error (503 Service Unavailable)", UnavailableError),
        (2, "  cause: failed to copy file: No space left on device (os error 28)", UnavailableError),
        (-9, "", UnavailableError),
        (1, "error: No solution found when resolving dependencies\n  cause: Because x", TerminalError),
        (1, "error: No solution found when resolving\n  cause: Because async-timeout==99 was not found", TerminalError),
        (1, "error: Hash mismatch for `tiny==1.0`", TerminalError),
        (2, "something new", TerminalError),
        (2, "", TerminalError),
    ],
)
def test_failures(code: int, text: str, kind: type[TargetError]) -> None:
    """Each way in which uv fails has its class: retry, wait for the operator, or stop until the spec changes."""
    assert type(failure(code, text.splitlines())) is kind


@pytest.mark.parametrize(
    ("cause", "hint"),
    [
        ("Because nosuch was not found in the package registry and you require nosuch", "check the spelling of nosuch"),
        ("Because scikit-learn==0.20.3 has no usable wheels and you require it", "raise the pin"),
        ("Because you require starlette==0.20.* and starlette>=0.49.1", "the scoring runtime needs starlette"),
        ("Because you require numpy==1.16 and numpy>2", "loosen the pins"),
    ],
)
def test_ways_out(cause: str, hint: str) -> None:
    """Each kind of unsolvable requirements says what to do, and uv's own hints are left out."""
    lines = ["error: No solution found when resolving dependencies", f"  cause: {cause}", "hint: use `--no-build`"]
    error = failure(1, lines)
    assert hint in error.hint
    assert "--no-build" not in error.message


def test_point_out() -> None:
    """Exactly the lines whose packages the reason names are pointed out."""
    items = [
        Requirement(name, f"{name}==1", Position("c.yml", line))
        for line, name in enumerate(["scikit", "scikit-learn", "learn", "numpy"], 1)
    ]
    error = point_out(TerminalError("Because scikit-learn==1 has no wheels"), items)
    assert error.message.splitlines()[1:] == ["c.yml:2: scikit-learn==1"]
