"""Running the templates of deploy/ci as their services would: a checkout, variables, files for answers, and a shell.

Expressions are read, not guessed: only what the templates use is understood, anything else ends the test.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cli.conftest import GIT, environment, git
from tests.forge.test_command import CI

DEPLOY = Path(__file__).parents[2] / "deploy/ci"


@dataclass
class Outcome:
    """How a run went: the steps that ran, what they printed, and the exit code of the one that failed."""

    code: int = 0
    steps: list[str] = field(default_factory=list)
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass
class Checkout:
    """A clone of a merge commit, as a CI service leaves it.

    Args:
        depth: How many commits it has.
    """

    folder: Path
    depth: int = 1

    def __post_init__(self) -> None:
        self.work = self.folder / "checkout"
        self.temp = self.folder / "temp"
        self.log = self.folder / "calls"
        self.shim = self.folder / "bin"
        for made in (self.work, self.temp, self.shim):
            made.mkdir()
        _shim(self.shim, self.log)

    def of(self, origin: Path, sha: str, ref: str) -> None:
        """Fetches one commit of a repo and checks it out, detached."""
        git(self.work, "init", "-q")
        git(self.work, "remote", "add", "origin", f"file://{origin}")
        git(self.work, "fetch", "-q", "--no-tags", f"--depth={self.depth}", "origin", f"+{sha}:{ref}")
        git(self.work, "checkout", "-q", "--force", ref)

    def run(
        self, script: str, variables: Mapping[str, str], shell: tuple[str, ...]
    ) -> subprocess.CompletedProcess[str]:
        """A script in the checkout."""
        clean = {k: v for k, v in environment(self.folder / "state").items() if not k.startswith((*CI, "RC_"))}
        path = f"{self.shim}{os.pathsep}{clean['PATH']}"
        (self.folder / "script").write_text(script)
        return subprocess.run(
            [*shell, str(self.folder / "script")],
            cwd=self.work,
            env={**clean, **GIT, "PATH": path, "HOME": str(self.folder), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            stdin=subprocess.DEVNULL,
        )

    def calls(self) -> list[list[str]]:
        """The words of each call of `reconciler`, behind the tokens that it could see."""
        return [shlex.split(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


def _shim(folder: Path, log: Path) -> None:
    """`python3 -m venv` makes an environment in which pip has nothing to do: `reconciler` is the one that is tested.

    Both must be isolated, for the current folder is the pull request's and may have a `pip.py`.
    """
    tool, pip, python = folder / "tool", folder / "pip", folder / "python3"
    tokens = '"${GITHUB_TOKEN:-}${GITLAB_TOKEN:-}${SYSTEM_ACCESSTOKEN:-}"'
    call = f'printf "%q " {tokens} "$@" >> {log}\necho >> {log}\n'
    tool.write_text(f'#!/bin/bash\n{call}exec {sys.executable} -m reconciler "$@"\n')
    pip.write_text(f'#!/bin/bash\n[ "$1 $2 $3" = "-I -m pip" ] || exit 99\n{call}')
    python.write_text(
        '#!/bin/bash\nset -e\n[ "$1 $2 $3" = "-I -m venv" ]\nmkdir -p "$4/bin"\n'
        f'cp {tool} "$4/bin/reconciler"\ncp {pip} "$4/bin/python"\n'
    )
    for made in (tool, pip, python):
        made.chmod(0o755)


# --- GitHub Actions


def actions(checkout: Checkout, variables: Mapping[str, str], given: Mapping[str, str], token: str) -> Outcome:
    """Runs the composite action with some inputs."""
    action = yaml.safe_load((DEPLOY / "github/action.yml").read_text())
    context: dict[str, str] = {"github.token": token, "github.event_name": variables["GITHUB_EVENT_NAME"]}
    assert set(given) <= set(action["inputs"])
    for name, about in action["inputs"].items():
        context[f"inputs.{name}"] = given.get(name, _filled(str(about["default"]), context))
    outcome = Outcome()
    for step in action["runs"]["steps"]:
        if "if" in step and _filled(step["if"], context) != "true":
            continue
        answers = checkout.folder / "output"
        answers.write_text("")
        own = {name: _filled(value, context) for name, value in step.get("env", {}).items()}
        files = {
            "RUNNER_TEMP": str(checkout.temp),
            "GITHUB_OUTPUT": str(answers),
            "GITHUB_STEP_SUMMARY": str(checkout.folder / "summary.md"),
            "GITHUB_ACTION_PATH": str(DEPLOY / "github"),
        }
        assert step["shell"] == "bash"
        done = checkout.run(
            step["run"], {**variables, **files, **own}, ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
        )
        outcome.steps.append(step["name"])
        outcome.log += done.stdout + done.stderr
        told = dict(line.split("=", 1) for line in answers.read_text().splitlines())
        context |= {f"steps.{step.get('id')}.outputs.{name}": value for name, value in told.items()}
        if done.returncode:
            outcome.code = done.returncode
            break
    outcome.outputs = {name: _filled(about["value"], context) for name, about in action["outputs"].items()}
    return outcome


def _filled(text: str, context: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{\s*(.*?)\s*\}\}", lambda found: _evaluated(found[1], context), text)


def _evaluated(expression: str, context: Mapping[str, str]) -> str:
    """Names, texts, `==`, `&&` and `||`, with GitHub's own idea of what is true."""
    for alternative in expression.split(" || "):
        value = ""
        for term in alternative.split(" && "):
            left, equals, right = term.partition(" == ")
            value = _term(left, context) if not equals else str(_term(left, context) == _term(right, context)).lower()
            if value in ("", "false"):
                break
        if value not in ("", "false"):
            return value
    return value


def _term(text: str, context: Mapping[str, str]) -> str:
    if text.startswith("'"):
        return text.strip("'")
    assert re.fullmatch(r"(inputs|github|steps)\.[\w.-]+", text), text
    return context.get(text, "")


# --- GitLab CI


def gitlab(checkout: Checkout, job: str, variables: Mapping[str, str], shell: str) -> Outcome:
    """Runs a job of the template, its parts in one shell, as GitLab's runner does."""
    template = yaml.safe_load((DEPLOY / "gitlab-ci.yml").read_text())
    merged: dict[str, Any] = {}
    name: str | None = job
    while name is not None:
        found = template[name]
        both = {**found.get("variables", {}), **merged.get("variables", {})}
        merged = {**found, **merged, "variables": both}
        name = found.get("extends")
    # The runner gives the script to the shell as one, with `set -e`, and with `pipefail` where there is one.
    strict = "set -eo pipefail\n" if shell == "bash" else "set -e\n"
    script = strict + "\n".join([*merged["before_script"], *merged["script"]])
    # What is cleaned up is not looked into before.
    done = checkout.run(script, {**merged["variables"], **variables}, (shell,))
    after = checkout.run("\n".join(merged["after_script"]), {**merged["variables"], **variables}, (shell,))
    assert after.returncode == 0
    return Outcome(done.returncode, [job], done.stdout + done.stderr)


# --- Azure Pipelines


def azure(checkout: Checkout, variables: Mapping[str, str], given: Mapping[str, str], token: str) -> Outcome:
    """Runs the steps of the template with some parameters.

    Args:
        token: Of the build; empty for one that gets none, as some builds of forks.
    """
    template = yaml.safe_load((DEPLOY / "azure-pipelines.yml").read_text())
    parameters = {p["name"]: p["default"] for p in template["parameters"]} | given
    allowed = {p["name"]: p["values"] for p in template["parameters"] if "values" in p}
    assert all(parameters[name] in values for name, values in allowed.items())
    build = {"Build.Reason": variables.get("BUILD_REASON", "Manual")}
    told: dict[str, str] = {"AGENT_TEMPDIRECTORY": str(checkout.temp)}
    outcome = Outcome()

    def fill(text: str) -> str:
        text = re.sub(r"\$\{\{ parameters\.(\w+) \}\}", lambda found: parameters[found[1]], str(text))
        return text.replace("$(System.AccessToken)", token) if token else text

    for step in template["steps"]:
        if "bash" not in step or not _condition(fill(step.get("condition", "succeeded()")), build):
            continue
        own = {name: fill(value) for name, value in step.get("env", {}).items()}
        assert "${{" not in step["bash"]
        done = checkout.run(step["bash"], {**variables, **told, **own}, ("bash", "--noprofile", "--norc"))
        outcome.steps.append(step["displayName"])
        outcome.log += done.stdout + done.stderr
        told |= dict(re.findall(r"^##vso\[task\.setvariable variable=(\w+)\](.*)$", done.stdout, re.MULTILINE))
        if done.returncode:
            outcome.code = done.returncode
            break
    return outcome


def _condition(text: str, build: Mapping[str, str]) -> bool:
    if text == "succeeded()":
        return True
    inner = re.fullmatch(r"and\((.*)\)", text)
    assert inner is not None, text
    terms = re.findall(r"succeeded\(\)|eq\('(\w*)', '(\w*)'\)|eq\(variables\['([\w.]+)'\], '(\w+)'\)", inner[1])
    return all(one == other and (not name or build[name] == value) for one, other, name, value in terms)
