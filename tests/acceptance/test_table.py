"""The table of scenarios names tests that exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from . import TABLE

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("scenario", TABLE)
def test_every_scenario_has_its_tests(scenario: str) -> None:
    """Each id leads to a test function of that name, with a sentence about what it shows."""
    assert TABLE[scenario]
    for id_ in TABLE[scenario]:
        file, _, name = id_.partition("::")
        nodes = ast.walk(ast.parse((TESTS / file).read_text()))
        (found,) = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == name]
        assert ast.get_docstring(found)
