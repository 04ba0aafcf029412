"""The page about importing: its commands print what it shows, and its fields exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from reconciler.manifests.schema import schemas
from tests.docs.console import examples, matches
from tests.examples.stage import EXAMPLES, Stage
from tests.examples.test_azureml_page import has

PAGE = EXAMPLES.parent / "docs" / "azureml-import.md"
TEXT = PAGE.read_text()
FILE = re.compile(r"`(\w+\.json)`\n\n```json\n(.*?)```", re.DOTALL)


@pytest.fixture
def moving(stage: Stage) -> Stage:
    """A repo without manifests beside a project as the page has it."""
    stage.repo.mkdir()
    stage.git("init", "--quiet", "--initial-branch=main")
    (stage.repo / "README.md").write_text("Manifests\n")
    stage.commit("Start")
    old = stage.root / "old"
    shutil.copytree(EXAMPLES / "azureml-v1/inference/diabetes", old / "diabetes")
    shutil.copy(EXAMPLES / "azureml-v1/models/sklearn_regression_model.pkl", old)
    for name, text in FILE.findall(TEXT):
        (old / name).write_text(text)
    return stage


def test_the_commands_of_the_page_print_what_it_shows(moving: Stage) -> None:
    """Every command of the page, in order."""
    commands = list(examples(PAGE))
    assert len(commands) == 3
    for example in commands:
        program, *words = example.command.split()
        if program == "reconciler":
            printed = moving.good(*words)
        else:
            done = subprocess.run([program, *words], cwd=moving.repo, capture_output=True, text=True, check=True)
            printed = done.stdout
        assert matches(example.shown, printed.splitlines()), f"line {example.line}: {printed}"


def test_every_field_of_the_page_exists() -> None:
    """In the schema of the kind that its section is about."""
    parts = re.split(r"^## .*`kind: (\w+)`$", TEXT, flags=re.MULTILINE)
    found = [
        (k, f) for k, text in zip(parts[1::2], parts[2::2], strict=True) for f in re.findall(r"`(spec\.\S+)`", text)
    ]
    assert len(found) > 25
    known = schemas()
    for kind, field in found:
        schema = known[f"{kind.lower()}.json"]
        assert has(schema, schema, field.split(".")), f"{kind}: {field}"


def test_the_files_of_the_page_are_json() -> None:
    """Both of them."""
    found = FILE.findall(TEXT)
    assert [name for name, _ in found] == ["inferenceconfig.json", "deploymentconfig.json"]
    assert all(isinstance(json.loads(text), dict) for _, text in found)
