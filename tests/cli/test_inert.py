"""The log of a run in CI obeys some of its lines; what a pull request's author named is none of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

NAMES = ("::add-mask::x.yaml", " ::set-output name=a::x.yaml", "##vso[task.prependpath]x.yaml", "a##[add-path]x.yaml")


@pytest.fixture
def hostile(repo: Path) -> Path:
    """A repo in which files are named like commands, and have errors."""
    for name in NAMES:
        (repo / name).write_text("apiVersion: reconciler/v1\nkind: Servise\n")
    return repo


def obeyed(text: str) -> list[str]:
    """Lines that a runner or an agent would take for commands."""
    marks = ("##[", "##vso[")
    lines = text.splitlines()
    return [line for line in lines if line.lstrip().startswith("::") or any(mark in line for mark in marks)]


@pytest.mark.parametrize("variables", [{"GITHUB_ACTIONS": "true"}, {"TF_BUILD": "True"}], ids=["github", "azure"])
@pytest.mark.parametrize("words", [("validate",), ("plan", "--offline"), ("plan", "--offline", "-o", "markdown")])
def test_no_name_of_a_pull_request_is_a_command(
    reconciler: Run, hostile: Path, variables: dict[str, str], words: tuple[str, ...]
) -> None:
    """What is shown names the files and keys, and none of it is obeyed; outside of CI it is shown as it is."""
    outside = reconciler(*words, cwd=hostile, GITHUB_ACTIONS="", TF_BUILD="")
    assert len(obeyed(outside.stdout + outside.stderr)) >= len(NAMES)
    done = reconciler(*words, cwd=hostile, **{"GITHUB_ACTIONS": "", "TF_BUILD": "", **variables})
    assert done.returncode == outside.returncode == 11
    assert "add-mask" in done.stdout + done.stderr
    assert obeyed(done.stdout + done.stderr) == []


def test_annotations_are_the_only_commands(reconciler: Run, hostile: Path) -> None:
    """They were asked for, and what stands in them is escaped."""
    done = reconciler("validate", "--annotations", "github", cwd=hostile, GITHUB_ACTIONS="true")
    lines = obeyed(done.stdout + done.stderr)
    assert lines
    assert all(line.startswith("::error ") for line in lines)


def test_json_is_the_same_to_those_who_parse_it(reconciler: Run, hostile: Path) -> None:
    """Only its spelling differs."""
    plain = reconciler("validate", "-o", "json", cwd=hostile, GITHUB_ACTIONS="", TF_BUILD="")
    inert = reconciler("validate", "-o", "json", cwd=hostile, GITHUB_ACTIONS="", TF_BUILD="True")
    assert obeyed(inert.stdout) == []
    assert json.loads(inert.stdout) == json.loads(plain.stdout)
