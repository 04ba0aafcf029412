"""The systemd unit: valid to systemd, hardened, and in step with settings and exit codes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.core.errors import InvalidError, StaleError, UsageError
from reconciler.settings import OTHER_VARIABLES, every_setting

UNIT = Path(__file__).parents[2] / "deploy/reconciler.service"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


@pytest.fixture
def text() -> str:
    return UNIT.read_text()


@pytest.fixture
def runnable(tmp_path: Path, text: str) -> Path:
    """The unit with a command that exists on this machine."""
    command = Path(sys.executable).with_name("reconciler")
    made = tmp_path / "reconciler.service"
    made.write_text(text.replace("/opt/reconciler/bin/reconciler", str(command)))
    return made


@needs_systemd
def test_systemd_accepts_every_line(runnable: Path):
    """No unknown section, key or value, and the command is there."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(runnable)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_it_is_hardened(runnable: Path):
    """systemd's own rating of its exposure stays in the best class."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25", str(runnable)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_command_and_its_options_exist(text: str):
    """What ExecStart calls is a command that this release has, with the options it takes."""
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, command, *options = line.split()
    assert program.endswith("/reconciler")
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert all(option.split("=")[0] in done.stdout for option in options if option.startswith("-"))


def test_its_variables_are_settings(text: str):
    """A renamed setting does not leave the unit behind."""
    known = {setting.variable for setting in every_setting()} | set(OTHER_VARIABLES) | {"RECONCILER_STATE_DIR"}
    named = re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)
    assert named
    assert set(named) <= known


def test_errors_that_a_restart_cannot_mend_are_not_retried(text: str):
    """Usage, settings, and another daemon at work."""
    (codes,) = re.findall(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)
    assert [int(code) for code in codes.split()] == [e.exit_code for e in (UsageError, InvalidError, StaleError)]


def test_services_outlive_the_daemon(text: str):
    """Stopping the unit kills the daemon alone and takes nothing away that services use."""
    assert "KillMode=process" in text
    assert not re.search(r"^(PrivateTmp|RemoveIPC)=yes", text, re.MULTILINE)
