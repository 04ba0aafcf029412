"""Calling it wrongly, asking for help, and what every command has in common."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.index import COMMANDS
from reconciler.cli.main import main
from tests.cli.conftest import Run, environment


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "a command is missing"),
        (("plna",), "did you mean 'plan'?"),
        (("--ouput", "json"), "options follow the command"),
        (("plan", "--ofline"), "did you mean '--offline'?"),
        (("plan", "--allow-dirty"), "it is an option of `reconciler apply`"),
        (("plan", "--allow-htpt"), "did you mean '--allow-http'?"),
        (("plan", "--no-such-thing"), "see `reconciler plan --help`"),
        (("plan", "-o", "yaml"), "invalid choice"),
        (("score",), "SERVICE|service"),
        (("history", "-n", "many"), "is no whole number from 1 on"),
        (("logs", "a", "-n", "-5"), "is no whole number from 0 on"),
        (("apply", "--max-delete", "120"), "is no percentage from 0 to 100"),
        (("apply", "--timeout", "soon"), "is no time such as 90s"),
        (("plan", "one", "two"), "unexpected argument"),
        (("history", "-n", "0"), "is no whole number from 1 on"),
        (("destroy",), "name services, or pass --all"),
        (("approve", "beef"), "is not the digest of a plan"),
        (("schema", "Servise"), "did you mean 'service'?"),
        (("capacity", "--rps", "1e999999999", "--seconds-per-request", "1"), "is no number from 0.000001 to 1000000"),
        (("capacity", "--rps", "1/3", "--seconds-per-request", "1"), "is no number from"),
        (("plan", "--repo", "https://git.example/x.git", "--offline"), "clone it first"),
    ],
)
def test_wrong_calls(reconciler: Run, words: tuple[str, ...], told: str) -> None:
    """A usage error is 10, says what was wrong, and is no traceback."""
    done = reconciler(*words)
    assert done.returncode == 10
    assert any(part in done.stderr for part in told.split("|"))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("apply", "--plan", ""),
        ("apply", "--approve="),
        ("plan", "--base", ""),
        ("plan", "--ref", ""),
        ("plan", "--out", ""),
        ("plan", "--state-dir="),
        ("plan", "verify", ""),
        ("suspend", ""),
        ("status", ""),
        ("destroy", "diabetes", "", "--yes"),
    ],
)
def test_a_variable_that_is_not_set_is_no_wish_for_something_else(reconciler: Run, words: tuple[str, ...]) -> None:
    """`apply --plan "$PLAN"` must not apply whatever there is."""
    done = reconciler(*words)
    assert (done.returncode, " is empty" in done.stderr) == (10, True), done.stderr


def test_usage_errors_as_json(reconciler: Run) -> None:
    """With `-o json`, an error is a document on standard output, too."""
    done = reconciler("plan", "--bogus", "-o", "json")
    assert done.returncode == 10
    assert json.loads(done.stdout)["exitCode"] == 10


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_every_command_has_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """`reconciler COMMAND --help` ends with 0 and shows how it is used."""
    assert main([*command.split(), "--help"]) == 0
    assert "examples:\n  " in capsys.readouterr().out


def test_overview_names_every_command(reconciler: Run) -> None:
    """`reconciler --help` lists the commands."""
    done = reconciler("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_version(reconciler: Run) -> None:
    """`reconciler --version` names the release."""
    assert reconciler("--version").stdout.startswith("reconciler 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(reconciler: Run, shell: str) -> None:
    """Each shell gets a script that calls us back."""
    done = reconciler("completion", shell)
    assert done.returncode == 0
    assert "_ARGCOMPLETE" in done.stdout


def test_completion_of_options(tmp_path: Path) -> None:
    """A shell that asks how `reconciler plan --off` goes on is told."""
    line = "reconciler plan --off"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\v",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    command = [sys.executable, "-m", "reconciler"]
    subprocess.run(command, env=environment(tmp_path / "state", asked), check=False, capture_output=True, cwd=tmp_path)
    assert "--offline" in (tmp_path / "answer").read_text()


_BOOM = """
import sys, types
from reconciler.cli.index import COMMANDS, Entry
from reconciler.cli.main import main
command = types.ModuleType("reconciler.cli.commands.boom")
command.configure = lambda parser: parser.about("x", (("x", "y"),))
def run(arguments, console):
    raise RuntimeError("cannot reach https://me:hunter2hunter2@git.example and " + sys.argv[1])
command.run = run
sys.modules["reconciler.cli.commands.boom"] = command
COMMANDS["boom"] = Entry("boom", "")
sys.exit(main(["boom"]))
"""


def test_a_fault_of_ours_is_one_line_and_a_file(state: Path) -> None:
    """An unexpected exception ends with 1; its traceback is in a private file, without secrets."""
    extra = {"MY_API_TOKEN": "canary-in-a-variable"}
    command = [sys.executable, "-c", _BOOM, "canary-in-a-variable"]
    done = subprocess.run(command, env=environment(state, extra), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "internal error: RuntimeError" in done.stderr
    assert "Traceback" not in done.stderr
    (written,) = (state / "crashes").iterdir()
    assert state.stat().st_mode & 0o077 == 0
    assert "Traceback" in written.read_text()
    assert written.stat().st_mode & 0o077 == 0
    for text in (done.stderr, written.read_text()):
        assert "hunter2" not in text
        assert "canary" not in text


_INTERRUPTED = """
import os, signal, sys
module = sys.argv[1]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from reconciler.cli.entry import run
sys.argv[1:] = ["plan", "--help"]
sys.exit(run())
"""


@pytest.mark.parametrize("module", ["reconciler.cli.main", "reconciler.core.errors", "reconciler.cli.commands.plan"])
def test_an_interrupt_is_a_word_whenever_it_comes(module: str, state: Path) -> None:
    """While modules are loaded, the first one or the command's own: 130 and no traceback."""
    command = [sys.executable, "-c", _INTERRUPTED, module]
    done = subprocess.run(command, env=environment(state), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("variable", ["PYTHONUNBUFFERED=1", "A="])
def test_a_closed_pipe_is_no_error_message(tmp_path: Path, state: Path, variable: str) -> None:
    """Whoever stops reading (`| head`) sees no complaint, and the exit code says that not all was read."""
    command = f"{variable} {sys.executable} -m reconciler schema | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}"
    variables = {key: value for key, value in environment(state).items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["bash", "-c", command], env=variables, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (141, "")


_TO_NOWHERE = """
"$@" > /dev/full; echo "full: $?"
"$@" >&-; echo "closed: $?"
"$@" 2> /dev/full > /dev/null; echo "errors full: $?"
"$@" <&- 2>&- > /dev/null; echo "input and errors closed: $?"
"""


@pytest.mark.parametrize(
    ("variable", "words", "code"),
    [("PYTHONUNBUFFERED=1", ("--version",), "0"), ("A=", ("nosuch", "-o", "json"), "10")],
    ids=["result", "error"],
)
def test_output_that_nobody_takes(
    state: Path, tmp_path: Path, variable: str, words: tuple[str, ...], code: str
) -> None:
    """A result that was not written whole is never a success; messages are no reason to fail; no traceback."""
    script = f"exec 2> errors\n{_TO_NOWHERE}"
    command = ["bash", "-c", script, "bash", "env", variable, sys.executable, "-m", "reconciler", *words]
    variables = {key: value for key, value in environment(state).items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert dict(line.split(": ") for line in done.stdout.splitlines()) == {
        "full": "11",
        "closed": code,
        "errors full": code,
        "input and errors closed": code,
    }
    said = (tmp_path / "errors").read_text()
    assert "error: the result cannot be written: No space left on device" in said
    assert "Traceback" not in said


def test_a_locale_that_lacks_characters(quickstart: Path, state: Path) -> None:
    """Documents are UTF-8 wherever they are made, so equal plans are equal bytes."""
    command = [sys.executable, "-m", "reconciler", "plan", "--base", "HEAD", "--offline"]
    found: list[bytes] = []
    for extra in ({"PYTHONUTF8": "1"}, {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}):
        variables = {**environment(state), "RECONCILER_ENVIRONMENT": "grün", **extra}
        done = subprocess.run(command, env=variables, capture_output=True, check=False, cwd=quickstart)
        assert done.returncode == 11
        assert "'grün'" in done.stdout.decode()
        found.append(done.stdout)
    assert found[0] == found[1]


@pytest.mark.parametrize("command", [("validate",), ("plan", "--offline"), ("status",)])
def test_a_state_directory_that_is_a_file(reconciler: Run, quickstart: Path, command: tuple[str, ...]) -> None:
    """A state directory that cannot be one is wrong input, 11, whatever the command wants of it."""
    done = reconciler(*command, "--state-dir", str(quickstart / "train.py"), cwd=quickstart)
    assert done.returncode == 11
    assert "is not a folder" in done.stderr
