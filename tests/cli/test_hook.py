"""The hook for pre-commit: with the real thing, in a real repo."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import commit, environment, git

ROOT = Path(__file__).parents[2]
PRE_COMMIT = str(Path(sys.executable).parent / "pre-commit")


def test_the_hooks_file_is_of_its_form() -> None:
    """As pre-commit reads it."""
    done = subprocess.run([PRE_COMMIT, "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")], check=False)
    assert done.returncode == 0


@pytest.mark.long
def test_a_commit_that_breaks_manifests_is_refused(repo: Path, tmp_path: Path) -> None:
    """Also one that only deletes a file that a manifest refers to; a good one goes through."""
    ours = tmp_path / "ours"
    ours.mkdir()
    for name in ("pyproject.toml", "README.md", ".pre-commit-hooks.yaml"):
        shutil.copy(ROOT / name, ours)
    shutil.copytree(ROOT / "reconciler", ours / "reconciler", ignore=shutil.ignore_patterns("__pycache__"))
    git(ours, "init", "-q")
    commit(ours, "As it is")
    rev = git(ours, "rev-parse", "HEAD").strip()
    hooks = f"repos: [{{repo: 'file://{ours}', rev: {rev}, hooks: [{{id: reconciler-validate}}]}}]\n"
    (repo / ".pre-commit-config.yaml").write_text(hooks)
    variables = environment(tmp_path / "state", {"PRE_COMMIT_HOME": str(tmp_path / "hooks")})
    subprocess.run([PRE_COMMIT, "install"], cwd=repo, env=variables, check=True, capture_output=True)

    def commits(message: str) -> subprocess.CompletedProcess[str]:
        git(repo, "add", "--all", ".")
        command = ["git", "commit", "-m", message]
        return subprocess.run(command, cwd=repo, env=variables, capture_output=True, text=True, check=False)

    good = commits("With a hook")
    assert good.returncode == 0, good.stdout + good.stderr
    manifest = repo / "services/diabetes.yaml"
    text = manifest.read_text()
    manifest.write_text(text.replace("kind: Service", "kind: Servise"))
    bad = commits("A slip")
    assert bad.returncode != 0
    assert "did you mean" in bad.stderr + bad.stdout
    manifest.write_text(text)
    (repo / "models/diabetes-ridge.pkl").unlink()
    gone = commits("A file that is needed")
    assert gone.returncode != 0
    assert "missing-file" in gone.stderr + gone.stdout
