"""Bad manifests and the reports they must give: `bad/<name>.yaml` and `bad/<name>.txt`.

The first line of a case, `# at: <path>`, says where the file goes in an otherwise good repo. After changing a message,
`python -m tests.manifests.golden` writes all reports anew; read the difference before committing it.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.manifests import load, resolve
from tests.manifests.trees import MemoryTree

BAD = Path(__file__).parent / "bad"

GOOD: dict[str, str] = {
    "models/ridge.yaml": (
        "apiVersion: reconciler/v1\nkind: Model\nmetadata: {name: ridge}\nspec: {path: models/ridge.pkl}\n"
    ),
    "models/ridge.pkl": "bytes",
    "inference/sklearn.yaml": (
        "apiVersion: reconciler/v1\nkind: InferenceConfig\nmetadata: {name: sklearn}\n"
        "spec: {sourceDirectory: inference/sklearn, entryScript: score.py, condaFile: env.yml}\n"
    ),
    "inference/sklearn/score.py": "def init():\n    pass\n\n\ndef run(data):\n    return data\n",
    "inference/sklearn/env.yml": "name: x\ndependencies: [python=3.11]\n",
    "inference/sklearn/no_run.py": "def init():\n    pass\n",
    "inference/sklearn/old.py": "def init():\n    pass\n\n\ndef run(data):\n    print data\n",
    "services/diabetes.yaml": (
        "apiVersion: reconciler/v1\nkind: Service\nmetadata: {name: diabetes}\n"
        "spec: {models: [ridge], inference: sklearn, deployment: {port: 8890}}\n"
    ),
}


def cases() -> list[str]:
    """Names of all cases."""
    return sorted(path.stem for path in BAD.glob("*.yaml"))


def report(name: str) -> str:
    """What a case is told, as one text; its last line says what still resolved."""
    text = (BAD / f"{name}.yaml").read_text()
    path = text.partition("\n")[0].removeprefix("# at: ")
    tree = MemoryTree({**GOOD, path: text})
    found = resolve(load(tree), tree, {"ridge": {}})
    lines = [str(problem) for problem in found.problems]
    good = ", ".join(deployment.service for deployment in found.deployments)
    return "\n".join([*lines, "", f"resolved: {good or '-'}; incomplete: {', '.join(found.incomplete) or '-'}", ""])


if __name__ == "__main__":
    for case in cases():
        (BAD / f"{case}.txt").write_text(report(case))
