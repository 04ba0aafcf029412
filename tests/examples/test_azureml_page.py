"""The page for people who come from Azure ML: its documents work, its fields, imports and commands exist."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from reconciler.cli.index import COMMANDS
from reconciler.serving.standins import ALIASES, MODULES
from tests import prefork
from tests.docs.console import examples, matches
from tests.examples.stage import EXAMPLES, Stage

ROOT = EXAMPLES.parent
PAGE = ROOT / "docs" / "azureml-v1.md"
TEXT = PAGE.read_text()
DOCUMENT = re.compile(r"`((?:models|inference|services)/[\w.-]+\.yaml)`\n\n```yaml\n(.*?)```", re.DOTALL)
FIELD = re.compile(r"`((?:spec|metadata)\.[\w.]+)`")


@pytest.fixture
def moved(stage: Stage) -> Stage:
    """The example's files with the page's documents."""
    stage.copy(EXAMPLES / "azureml-v1")
    found = DOCUMENT.findall(TEXT)
    assert len(found) == 3
    for path, document in found:
        assert (stage.repo / path).exists()
        (stage.repo / path).write_text(document)
    stage.commit("Move here")
    return stage


def test_the_documents_of_the_page_make_a_plan(moved: Stage):
    """They validate, and the plan creates model, environment and service."""
    assert "Plan: 3 to create." in moved.good("plan")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_commands_of_the_page_print_what_it_shows(moved: Stage):
    """Every command of the page, in order, on the page's documents."""
    commands = list(examples(PAGE))
    assert len(commands) == 4
    for example in commands:
        words = re.findall(r"'([^']*)'|(\S+)", example.command)
        printed = moved.good(*[quoted or plain for quoted, plain in words][1:])
        assert matches(example.shown, printed.splitlines()), f"line {example.line}: {printed}"


def sections() -> list[tuple[str, str]]:
    """Kind and field of every field that a table of the page names."""
    parts = re.split(r"^## .*`kind: (\w+)`$", TEXT, flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return [(kind, field) for kind, text in pairs for field in FIELD.findall(text.split("\n## ")[0])]


@pytest.mark.parametrize("kind", ["Model", "InferenceConfig", "Service"])
def test_fields_of_the_page_exist(kind: str):
    """Each field stands in the schema of its kind."""
    schema = json.loads(prefork.run("reconciler", ("schema", kind), ROOT, os.environ).stdout)
    fields = [field for of, field in sections() if of == kind]
    assert fields
    assert [field for field in fields if not has(schema, schema, field.split("."))] == []


def has(schema: dict[str, Any], part: dict[str, Any], names: list[str]) -> bool:
    """Whether a JSON Schema describes a path of keys."""
    if "$ref" in part:
        target: Any = schema
        for name in part["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return has(schema, target, names)
    others = [*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())]
    own = part.get("properties", {})
    below = not names or (names[0] in own and has(schema, own[names[0]], names[1:]))
    return below or any(has(schema, other, names) for other in others)


def test_the_page_lists_every_stand_in():
    """No stand-in that the page does not name, and none that it names is missing."""
    table = TEXT.split("| import | stands in |")[1].split("\n\n")[0]
    named = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`([\w.]+)`", line.split("|")[1:2][0] if "|" in line else "")
    }
    offered = {name for name, module in MODULES.items() if module is not None} | set(ALIASES)
    assert named == offered


def test_commands_that_the_page_names_exist():
    """Each `reconciler WORD` of the page begins a command."""
    words = set(re.findall(r"`reconciler ([a-z]+)", TEXT))
    assert words
    assert words <= {name.split()[0] for name in COMMANDS}
