"""`plan --out`, `plan verify` and `apply --plan` from the outside, as far as nothing has to be built for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, commit, git


@pytest.fixture
def saved(reconciler: Run, repo: Path) -> Path:
    """The quickstart's first plan, saved."""
    path = repo.parent / "plan.json"
    done = reconciler("plan", "--out", str(path), cwd=repo)
    assert done.returncode == 0, done.stderr
    assert f"reconciler apply --plan {path}" in done.stderr
    return path


def test_the_file_is_the_plan(reconciler: Run, repo: Path, saved: Path) -> None:
    """The document of `-o json`, one key more, for its owner's eyes; it holds until something changes."""
    printed = json.loads(reconciler("plan", "-o", "json", cwd=repo).stdout)
    document = json.loads(saved.read_text())
    assert document.pop("saved")["origin"] == str(repo)
    assert document == printed
    assert saved.stat().st_mode & 0o777 == 0o600
    done = reconciler("plan", "verify", str(saved), cwd=repo)
    assert (done.returncode, done.stderr) == (0, "")
    assert "still holds: 3 actions at main@" in done.stdout
    assert json.loads(reconciler("plan", "verify", str(saved), "-o", "json", cwd=repo).stdout)["same"] is True


@pytest.mark.parametrize("words", [("plan", "verify"), ("apply", "--plan")])
def test_a_newer_commit_supersedes(reconciler: Run, repo: Path, saved: Path, words: tuple[str, ...]) -> None:
    """Whatever it changes: 14, with how to go on; a plan of the commit by its id is not superseded."""
    sha = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "Another")
    done = reconciler(*words, str(saved), cwd=repo)
    assert done.returncode == 14
    assert f"superseded: it is of {sha[:7]}, and main is at" in done.stderr
    assert f"reconciler plan --ref {sha} --out FILE" in done.stderr
    by_id = repo.parent / "by-id.json"
    assert reconciler("plan", "--ref", sha, "--out", str(by_id), cwd=repo).returncode == 0
    assert reconciler("plan", "verify", str(by_id), cwd=repo).returncode == 0
    assert json.loads(reconciler("history", "-o", "json").stdout)["attempts"] == []


def test_a_branch_that_is_gone_supersedes(reconciler: Run, repo: Path) -> None:
    """The ref that the plan followed is not there any more: 14."""
    git(repo, "branch", "feature")
    path = str(repo.parent / "p.json")
    assert reconciler("plan", "--ref", "feature", "--out", path, cwd=repo).returncode == 0
    assert reconciler("plan", "verify", path, cwd=repo).returncode == 0
    git(repo, "branch", "--delete", "feature")
    done = reconciler("plan", "verify", path, cwd=repo)
    assert done.returncode == 14
    assert "has no branch, tag or commit 'feature'" in done.stderr


def test_uncommitted_files_neither_go_into_a_saved_plan_nor_disturb_one(
    reconciler: Run, repo: Path, saved: Path
) -> None:
    """They cannot be saved (13); what was saved is of its commit, whatever lies in the working copy."""
    (repo / "services/diabetes.yaml").write_text("not: [a manifest")
    assert reconciler("plan", "verify", str(saved), cwd=repo).returncode == 0
    before = saved.read_bytes()
    done = reconciler("plan", "--out", str(saved), cwd=repo)
    assert done.returncode == 13
    assert "uncommitted files" in done.stderr
    assert saved.read_bytes() == before


def test_another_environment_is_another_plan(reconciler: Run, repo: Path) -> None:
    """A plan is applied for the environment it was made for; `--env` cannot say otherwise."""
    (repo / "environments").mkdir()
    overlay = "apiVersion: reconciler/v1\nkind: Overlay\nmetadata: {name: production}\nspec: {overrides: []}\n"
    (repo / "environments/production.yaml").write_text(overlay)
    commit(repo)
    path = str(repo.parent / "p.json")
    assert reconciler("plan", "--env", "production", "--out", path, cwd=repo).returncode == 0
    assert reconciler("plan", "verify", path, cwd=repo).returncode == 0
    done = reconciler("apply", "--plan", path, "--env", "staging", cwd=repo)
    assert done.returncode == 10
    assert "one for environment 'production'" in done.stderr


def test_a_clone_will_do_another_repo_or_installation_will_not(
    reconciler: Run, repo: Path, saved: Path, tmp_path: Path
) -> None:
    """A pipeline's next job has a checkout of its own; anything else is told with what is different: 11."""
    clone, other = tmp_path / "clone", tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(repo), str(clone))
    assert reconciler("plan", "verify", str(saved), cwd=clone).returncode == 0
    assert reconciler("init", str(other)).returncode == 0
    done = reconciler("plan", "verify", str(saved), cwd=other)
    assert done.returncode == 11
    assert "was made from another repo or path" in done.stderr
    done = reconciler("apply", "--plan", str(saved), cwd=repo, RECONCILER_STATE_DIR=str(tmp_path / "elsewhere"))
    assert done.returncode == 11
    assert "was saved by another installation" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("plan", "verify"), 10, "file|FILE"),
        (("plan", "verify", "nowhere.json"), 11, "nowhere.json cannot be read: No such file"),
        (("apply", "--plan", "."), 11, ". cannot be read: Is a directory"),
        (("apply", "--plan", "README.md"), 11, "cannot be read"),
        (("apply", "--plan", "train.py"), 11, "it is not JSON"),
        (("apply", "--plan", "x", "--ref", "main"), 10, "--ref cannot stand beside a saved plan"),
        (("apply", "--plan", "x", "--allow-dirty"), 10, "--allow-dirty cannot stand beside a saved plan"),
        (("plan", "--offline", "--out", "x"), 10, "only a plan made from the targets themselves can be saved"),
        (("plan", "--out", "nowhere/x"), 11, "cannot be saved"),
        (("plan", "vrify", "x"), 10, "unexpected argument"),
    ],
)
def test_wrong_calls(reconciler: Run, repo: Path, words: tuple[str, ...], code: int, told: str) -> None:
    """A message and no traceback."""
    done = reconciler(*words, cwd=repo)
    assert done.returncode == code, done.stderr
    assert any(part in done.stderr for part in told.split("|"))
    assert "Traceback" not in done.stderr


def test_errors_are_data_too(reconciler: Run, repo: Path, saved: Path) -> None:
    """With `-o json` a refusal is a document."""
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "Another")
    done = reconciler("apply", "--plan", str(saved), "-o", "json", cwd=repo)
    assert json.loads(done.stdout)["code"] == "stale"
