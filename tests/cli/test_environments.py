"""`--env` and the setting: which overlay counts, and where it is shown."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run, commit, git
from tests.cli.test_offline import replace_in

OVERLAY = """\
apiVersion: reconciler/v1
kind: Overlay
metadata: {{name: {name}}}
spec:
  overrides:
    - {{kind: Service, spec: {{deployment: {{replicas: {replicas}}}}}}}
"""


def add_overlay(repo: Path, name: str, replicas: object) -> Path:
    """Commits an overlay of that name."""
    path = repo / "environments" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(OVERLAY.format(name=name, replicas=replicas))
    commit(repo, f"Overlay {name}")
    return path


def test_the_chosen_overlay_is_in_the_plan(reconciler: Run, repo: Path) -> None:
    """Without a choice the manifests count as they are; --env wins over the setting, and is in every format."""
    add_overlay(repo, "production", 3)
    add_overlay(repo, "staging", 2)
    plain = reconciler("plan", cwd=repo)
    assert (plain.returncode, "1 process," in plain.stdout) == (0, True)
    chosen = reconciler("plan", "--env", "production", cwd=repo)
    assert "3 processes" in chosen.stdout
    assert chosen.stdout.splitlines()[0].split()[3:5] == ["in", "production"]
    by_setting = reconciler("plan", "-o", "json", cwd=repo, RECONCILER_ENVIRONMENT="staging")
    assert json.loads(by_setting.stdout)["environment"] == "staging"
    assert "2 processes" in by_setting.stdout
    over = reconciler("plan", "-o", "markdown", "--env", "production", cwd=repo, RECONCILER_ENVIRONMENT="staging")
    assert "in `production`" in over.stdout
    none = reconciler("plan", "--env", "", "-o", "json", cwd=repo, RECONCILER_ENVIRONMENT="staging")
    assert json.loads(none.stdout)["environment"] == ""


def test_an_offline_plan_compares_one_environment(reconciler: Run, repo: Path) -> None:
    """What a branch changes in production, and nothing in staging."""
    path = add_overlay(repo, "production", 3)
    add_overlay(repo, "staging", 2)
    git(repo, "checkout", "--quiet", "-b", "branch")
    replace_in(path, "replicas: 3", "replicas: 4")
    commit(repo)
    offline = ("plan", "--base", "main", "--offline", "--detailed-exitcode")
    changed = reconciler(*offline, "--env", "production", cwd=repo)
    assert (changed.returncode, "3 → 4" in changed.stdout) == (2, True)
    assert reconciler(*offline, "--env", "staging", cwd=repo).returncode == 0


def test_an_environment_that_is_not_there(reconciler: Run, repo: Path) -> None:
    """The message names the ones there are; no service is touched."""
    add_overlay(repo, "production", 3)
    done = reconciler("plan", "--env", "prodution", cwd=repo)
    assert done.returncode == 11
    assert "there is no environment 'prodution' [unknown-environment]\n    did you mean 'production'?" in done.stdout
    assert "local/diabetes" not in done.stdout


def test_validate_looks_at_every_environment(reconciler: Run, repo: Path) -> None:
    """A slip in an overlay that nobody chose is found, with its place; --env looks at one alone."""
    add_overlay(repo, "production", "many")
    add_overlay(repo, "staging", 2)
    done = reconciler("validate", cwd=repo)
    assert done.returncode == 11
    assert done.stdout.splitlines() == [
        "environments/production.yaml:6:53: error: `replicas` must be a whole number [wrong-type]",
        f"main@{git(repo, 'rev-parse', 'HEAD')[:7]}: 1 service in 2 environments (production, staging), 1 error",
    ]
    assert reconciler("validate", "--env", "staging", cwd=repo).returncode == 0
    report = json.loads(reconciler("validate", "-o", "json", cwd=repo).stdout)
    assert report["environments"] == ["production", "staging"]


def test_a_problem_of_one_environment_says_which(reconciler: Run, repo: Path) -> None:
    """What only a merged document has is told with the environment; what all have is told once."""
    add_overlay(repo, "production", 3)
    path = add_overlay(repo, "staging", 2)
    replace_in(path, "spec: {deployment: {replicas: 2}}", "spec: {inference: nothing}")
    replace_in(repo / "services/diabetes.yaml", "target: local", "target: nowhere")
    done = reconciler("validate", cwd=repo)
    assert [line.partition(" error: ")[2] for line in done.stdout.splitlines() if " error: " in line] == [
        "there is no InferenceConfig 'nothing' (in staging) [dangling-reference]",
        "there is no Target 'nowhere' [dangling-reference]",
    ]
