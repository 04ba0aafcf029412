"""Configurations of Azure ML's command line, and what is made of them: `cases/<name>.json` and `cases/<name>.txt`.

A case holds both files in one, since its text is also what the places of notes speak of. After changing what is made,
`python -m tests.migration.golden` writes all results anew; read the difference before committing it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reconciler.migration.azureml import Given, Import, ModelArgument, imported

CASES = Path(__file__).parent / "cases"


def cases() -> list[str]:
    """Names of all cases."""
    return sorted(path.stem for path in CASES.glob("*.json"))


def given(inference: Any, deployment: Any, /, **more: Any) -> Given:
    """An import of a model in the repo."""
    found: dict[str, Any] = {
        "name": "diabetes",
        "inference": (json.dumps(inference, indent=4).encode(), "inferenceconfig.json"),
        "deployment": (json.dumps(deployment, indent=4).encode(), "deploymentconfig.json"),
        "models": [ModelArgument("ridge", 1, path="models/ridge.pkl")],
        "folder": "",
        "place": {"subscriptionId": "0000"},
    }
    return Given(**{**found, **more})


def case(name: str) -> tuple[Any, Any]:
    """Both configurations of a case."""
    data = json.loads((CASES / f"{name}.json").read_text())
    return data["inference"], data["deployment"]


def told(made: Import) -> str:
    """All that comes of an import, as one text."""
    parts = [f"--- # {document.path}\n{document.text()}" for document in made.documents]
    parts += [f"--- # {path}\n{text}" for path, text in made.code.made.items()]
    parts += [f"# needed: {where}\n" for where in sorted(made.code.needed)]
    for note in made.notes:
        at = f"{note.position}: " if note.position else ""
        parts.append(f"# {'to do' if note.todo else 'without equivalent'}: {at}{note.key}: {note.said}\n")
    parts += [f"# {line}\n" for problem in made.problems for line in str(problem).splitlines()]
    return "".join(parts)


def result(name: str) -> str:
    """What comes of a case."""
    return told(imported(given(*case(name))))


if __name__ == "__main__":
    for each in cases():
        (CASES / f"{each}.txt").write_text(result(each))
