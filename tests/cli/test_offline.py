"""`validate` and `plan --offline`: no state, no network, no credentials."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run, commit, environment, git

SERVICE = "services/diabetes.yaml"


def replace_in(path: Path, old: str, new: str) -> None:
    """Edits a file; the old text must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_valid_manifests(reconciler: Run, repo: Path) -> None:
    """The example is valid."""
    done = reconciler("validate", cwd=repo)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 service, no problems" in done.stdout


def test_every_problem_has_its_place(reconciler: Run, repo: Path) -> None:
    """Problems are reported together, each with file, line and column; the exit code is 11."""
    replace_in(repo / SERVICE, "inference: sklearn", "inference: skleran")
    replace_in(repo / "models/diabetes-ridge.yaml", "spec:", "spec:\n  pth: x")
    done = reconciler("validate", "-o", "json", cwd=repo)
    assert done.returncode == 11
    problems = json.loads(done.stdout)["problems"]
    assert {p["file"] for p in problems} == {SERVICE, "models/diabetes-ridge.yaml"}
    assert all(p["line"] > 0 and p["column"] > 0 for p in problems)


def test_a_drift_rule_that_speaks_of_nothing_is_a_warning(reconciler: Run, repo: Path) -> None:
    """A typo in a pattern is told at its place with what was meant; a rule that fits is not."""
    replace_in(repo / SERVICE, "spec:", "spec:\n  policy: {drift: {ignore: [/worker, 'process:/limits/memoryGb']}}")
    done = reconciler("plan", "--offline", cwd=repo)
    assert done.returncode == 0
    assert f"{SERVICE}:9:29: warning: '/worker' names no field" in done.stdout
    assert "did you mean '/workers'?" in done.stdout
    assert "memoryGb" not in done.stdout


def test_the_line_that_says_what_moved_may_go(reconciler: Run, repo: Path) -> None:
    """Generated keys stay those of the first name, so taking the line out changes nothing."""
    replace_in(repo / SERVICE, "name: diabetes", "name: patients\n  movedFrom: diabetes")
    commit(repo, "Rename")
    moved = reconciler("plan", "--base", "HEAD~1", "--ref", "HEAD", "--offline", cwd=repo)
    assert "Plan: 1 to move" in moved.stdout
    replace_in(repo / SERVICE, "\n  movedFrom: diabetes", "")
    commit(repo, "Take the line out")
    later = reconciler("plan", "--base", "HEAD~1", "--ref", "HEAD", "--offline", cwd=repo)
    assert "Nothing to do" in later.stdout


@pytest.mark.parametrize(
    "content",
    [
        "a: [",
        "a: &x [*x, *x]\nb: *x",
        "\tkey: 1",
        "key: \x07",
        "apiVersion: reconciler/v1\nkind: Nothing",
        "spec: !!python/object:os.system {}",
        "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n" + "c: [*b" + ",*b" * 20000 + "]",
        "x" * 2_000_000,
    ],
)
def test_bad_files_are_no_tracebacks(reconciler: Run, repo: Path, content: str) -> None:
    """Whatever stands in a manifest, the answer is a message and 11."""
    (repo / "services/bad.yaml").write_text(content)
    done = reconciler("validate", cwd=repo)
    assert done.returncode == 11
    assert "services/bad.yaml" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_secret_near_a_syntax_error_is_not_shown(reconciler: Run, repo: Path) -> None:
    """No message holds what stands in the line it is about."""
    (repo / "services/bad.yaml").write_text("password: canary-hunter2 : [\n")
    for words in (
        ("validate",),
        ("validate", "-o", "json"),
        ("plan", "--offline"),
        ("plan", "--offline", "-o", "json"),
    ):
        done = reconciler(*words, cwd=repo)
        assert done.returncode == 11
        assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [("validate",), ("plan", "--offline"), ("validate", "-o", "json")])
@pytest.mark.parametrize("folder", [("--repo", "ml/prod"), ("--path", "ml/prod")])
def test_annotations_name_files_from_the_root_of_the_repo(
    reconciler: Run, repo: Path, words: tuple[str, ...], folder: tuple[str, ...]
) -> None:
    """Problems are told beside the result, as workflow commands, by paths that GitHub knows."""
    (repo / "ml/prod").mkdir(parents=True)
    for name in ("models", "inference", "services"):
        (repo / name).rename(repo / "ml/prod" / name)
    replace_in(repo / "ml/prod" / SERVICE, "inference: sklearn", "inference: skleran")
    commit(repo)
    done = reconciler(*words, *folder, "--annotations", "github", cwd=repo)
    assert done.returncode == 11
    told = [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert len(told) == 1
    assert told[0].startswith(f"::error file=ml/prod/{SERVICE},line=")
    assert "did you mean 'sklearn'?" in told[0]
    assert "::error" not in done.stdout
    assert "::" not in reconciler(*words, *folder, cwd=repo).stderr


def test_what_stops_a_command_is_annotated_too(reconciler: Run, repo: Path) -> None:
    """A manifest folder that is not there has no file, but still its annotation."""
    done = reconciler("validate", "--path", "nowhere", "--annotations", "github", cwd=repo)
    assert done.returncode == 11
    assert "::error title=invalid::there is no folder 'nowhere'" in done.stderr


def test_nothing_changed(reconciler: Run, repo: Path) -> None:
    """A clean working copy compared with its own commit has nothing to do; exit 0 even when asked in detail."""
    done = reconciler("plan", "--offline", "--detailed-exitcode", cwd=repo)
    assert done.returncode == 0
    assert "Nothing to do: 3 resources in sync." in done.stdout


def test_uncommitted_changes_are_planned(reconciler: Run, repo: Path) -> None:
    """An edit shows as a change of one field, and as 2 where asked in detail."""
    replace_in(repo / SERVICE, "  auth:", "  deployment: {replicas: 3}\n  auth:")
    done = reconciler("plan", "--offline", "--detailed-exitcode", cwd=repo)
    assert done.returncode == 2
    assert "+dirty" in done.stdout
    assert "/workers  1 → 3" in done.stdout
    assert "Plan: 1 to update; 2 unchanged." in done.stdout


def test_two_commits(reconciler: Run, repo: Path) -> None:
    """`--base` and `--ref` compare any two commits, in every format; deletions are told."""
    git(repo, "branch", "before")
    (repo / SERVICE).unlink()
    commit(repo, "Retire it")
    done = reconciler("plan", "--base", "before", "--ref", "main", "-o", "json", cwd=repo)
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    assert [(c["action"], c["resource"]) for c in plan["changes"]] == [("delete", "local/process/diabetes")]
    markdown = reconciler("plan", "--base", "before", "-o", "markdown", cwd=repo).stdout
    assert markdown.startswith("<!-- reconciler-plan -->")


def test_the_first_commit_creates_everything(reconciler: Run, repo: Path) -> None:
    """In a repo without commits, everything is new."""
    git(repo, "update-ref", "-d", "HEAD")
    done = reconciler("plan", "--offline", cwd=repo)
    assert (done.returncode, "3 to create" in done.stdout) == (0, True), done.stderr
    assert "Compared with nothing" in done.stdout
    # A hook checks what is about to be the first commit.
    checked = reconciler("validate", cwd=repo)
    assert (checked.returncode, "1 service, no problems" in checked.stdout) == (0, True), checked.stderr
    named = reconciler("plan", "--base", "HEAD", cwd=repo)
    assert (named.returncode, "no commits yet" in named.stderr) == (11, True)


def test_a_ref_alone_has_nothing_to_be_compared_with(reconciler: Run, repo: Path) -> None:
    """`--offline --ref X` needs a base."""
    done = reconciler("plan", "--offline", "--ref", "main", cwd=repo)
    assert done.returncode == 10
    assert "--base REF" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--ref", "mian"), 11),
        (("--base", "nowhere"), 11),
        (("--base", "HEAD", "--path", "nowhere"), 11),
        (("--base", "HEAD", "--repo", "/nonexistent"), 11),
        (("--base", "HEAD", "--settings", "/nonexistent.yaml"), 11),
    ],
)
def test_what_cannot_be_read(reconciler: Run, repo: Path, words: tuple[str, ...], code: int) -> None:
    """Unknown refs, paths, repos and settings files are told, with no traceback."""
    done = reconciler("plan", "--offline", *words, cwd=repo)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_outside_of_a_repo(reconciler: Run) -> None:
    """Without a Git repo around, the message says how to get one."""
    done = reconciler("plan", "--offline")
    assert done.returncode == 11
    assert "not a Git repository" in done.stderr


def test_a_folder_named_with_repo_is_the_manifest_folder(reconciler: Run, repo: Path, tmp_path: Path) -> None:
    """`--repo FOLDER` in a larger repo reads that folder alone."""
    (repo / "other").mkdir()
    (repo / "other" / "x.yaml").write_text("apiVersion: reconciler/v1\nkind: Nonsense\n")
    assert reconciler("validate", cwd=repo).returncode == 11
    (repo / "inner").mkdir()
    for name in ("models", "inference", "services"):
        (repo / name).rename(repo / "inner" / name)
    assert reconciler("validate", "--repo", str(repo / "inner"), cwd=tmp_path).returncode == 0


def test_a_target_without_a_driver(reconciler: Run, repo: Path) -> None:
    """A service on a target type that this version cannot deploy to is told plainly."""
    (repo / "targets").mkdir()
    (repo / "targets/cloud.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Target\nmetadata: {name: cloud}\n"
        "spec: {type: aci, aci: {resourceGroup: ml}}\n"
    )
    replace_in(repo / SERVICE, "target: local", "target: cloud")
    done = reconciler("validate", cwd=repo)
    assert done.returncode == 11
    assert "of type aci" in done.stdout
    assert "targets/cloud.yaml:" in done.stdout


_LOADED = """
import sys
from reconciler.cli.main import main
code = main(sys.argv[1:])
heavy = (
    "sqlalchemy", "pydantic", "typer", "structlog", "git", "docker", "kubernetes", "uvicorn", "starlette",
    "yaml", "packaging", "inspect", "dataclasses", "socket", "shutil", "logging",
)
print("loaded:", *(name for name in heavy if name in sys.modules))
sys.exit(code)
"""


@pytest.mark.parametrize("words", [("plan", "--offline"), ("validate",)])
def test_offline_commands_load_little(reconciler: Run, repo: Path, state: Path, words: tuple[str, ...]) -> None:
    """With documents remembered, neither the store nor pydantic nor an SDK is imported, nor what takes its time.

    `dataclasses` and `inspect` come in with a class that is not made by `reconciler.core.dataclass`.
    """
    assert reconciler(*words, cwd=repo).returncode == 0
    command = [sys.executable, "-c", _LOADED, *words]
    done = subprocess.run(command, cwd=repo, env=environment(state), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_offline_writes_nothing_but_its_cache(reconciler: Run, repo: Path, state: Path) -> None:
    """No store, no identity; and an unwritable state directory is no obstacle."""
    reconciler("plan", "--offline", cwd=repo)
    assert [path.name for path in state.iterdir()] == ["cache"]
    assert state.stat().st_mode & 0o077 == 0
    assert reconciler("plan", "--offline", "--state-dir", "/proc/nowhere", cwd=repo).returncode == 0
