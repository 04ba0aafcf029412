"""Every code that a message can carry, read from the source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "reconciler"
CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Callable -> which positional argument is the code.
MAKERS = {"Problem": 0, "refuse": 0, "Refusal": 0, "Kept": 2, "_invalid": 0, "_problem": 0}


def codes() -> set[str]:
    """Codes of problems, refusals, kept resources and errors."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found |= _of_call(node)
            elif isinstance(node, ast.ClassDef):
                found |= {
                    each.value.value
                    for each in node.body
                    if isinstance(each, (ast.Assign, ast.AnnAssign))
                    and isinstance(each.value, ast.Constant)
                    and isinstance(each.value.value, str)
                    and each.value.value
                    and _names(each) == ["code"]
                }
    return found


def refusal_codes() -> set[str]:
    """Codes of refusals alone."""
    calls = [n for p in SOURCE.rglob("*.py") for n in ast.walk(ast.parse(p.read_text())) if isinstance(n, ast.Call)]
    return set().union(*(_of_call(n) for n in calls if getattr(n.func, "id", "") == "Refusal"))


def _names(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [t.id for t in targets if isinstance(t, ast.Name)]


def _of_call(node: ast.Call) -> set[str]:
    index = MAKERS.get(getattr(node.func, "id", "") or getattr(node.func, "attr", ""))
    if index is None or len(node.args) <= index:
        return set()
    value = node.args[index]
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return set()
    return {value.value} if CODE.fullmatch(value.value) else set()
