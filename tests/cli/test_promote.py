"""`promote` from the outside: what it commits, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Run, commit, git
from tests.cli.test_offline import replace_in

SERVICE = "services/diabetes.yaml"
HEADER = "apiVersion: reconciler/v1\n"
# Every way to write a reference, with a comment, a blank, or quotes that must stay.
SERVICES = {
    "short": "  models: [diabetes-ridge:1]   # short\n",
    "quoted": "  models:\n    - 'diabetes-ridge:1'\n",
    "mapping": "  models:\n    - {name: diabetes-ridge, version: 1 , x: 0}\n".replace(" , x: 0", " "),
    "block": "  models:\n    - name: diabetes-ridge\n      version: 1   # pinned\n",
    "anchored": "  models: [{name: diabetes-ridge, version: &v 1}]\n",
    "latest": "  models: [diabetes-ridge:latest]\n",
    "plain": "  models:\n  - diabetes-ridge\n",
    "unnamed": "  models:\n    - name: diabetes-ridge  # the newest\n",
}
OVERLAY = """\
apiVersion: reconciler/v1
kind: Overlay
metadata: {name: production}
spec:
  overrides:
    - kind: Service
      name: short
      patch:
        - {op: replace, path: /spec/models/0/version, value: 1}   # by hand
    - {kind: Service, name: block, spec: {models: ['diabetes-ridge:1']}}
# the end
"""


@pytest.fixture
def shop(repo: Path) -> Path:
    """A repo with three versions of a model and a service for each way to refer to one."""
    (repo / SERVICE).unlink()
    model = repo / "models/diabetes-ridge.yaml"
    text = model.read_text()
    replace_in(model, "spec:\n", "spec:\n  version: 1\n")
    for version in (2, 3):
        (repo / f"models/v{version}.yaml").write_text(text.replace("spec:\n", f"spec:\n  version: {version}\n"))
    for name, models in SERVICES.items():
        head = f"{HEADER}kind: Service\nmetadata: {{name: {name}}}\nspec:\n"
        (repo / f"services/{name}.yaml").write_text(f"{head}{models}  inference: sklearn\n")
    (repo / "environments").mkdir()
    (repo / "environments/production.yaml").write_text(OVERLAY)
    commit(repo, "A shop")
    return repo


def changed(repo: Path, since: str = "HEAD~1", until: str = "HEAD") -> dict[str, list[str]]:
    """The lines a commit took out and put in, by file."""
    found: dict[str, list[str]] = {}
    for line in git(repo, "diff", "-U0", since, until).splitlines():
        if line.startswith("+++ b/"):
            found[line.removeprefix("+++ b/")] = []
        elif line[:1] in "+-" and not line.startswith("---"):
            list(found.values())[-1].append(line) if found else None
    return found


def test_all_references_that_name_a_version(reconciler: Run, shop: Path) -> None:
    """Each is changed in the way it is written; `latest` is left alone and said so; the overlay's too."""
    done = reconciler("promote", "diabetes-ridge", "--to", "2", cwd=shop)
    assert (done.returncode, done.stderr) == (0, "")
    assert changed(shop) == {
        "services/anchored.yaml": [
            "-  models: [{name: diabetes-ridge, version: &v 1}]",
            "+  models: [{name: diabetes-ridge, version: &v 2}]",
        ],
        "services/block.yaml": ["-      version: 1   # pinned", "+      version: 2   # pinned"],
        "services/mapping.yaml": [
            "-    - {name: diabetes-ridge, version: 1 }",
            "+    - {name: diabetes-ridge, version: 2 }",
        ],
        "services/quoted.yaml": ["-    - 'diabetes-ridge:1'", "+    - 'diabetes-ridge:2'"],
        "services/short.yaml": ["-  models: [diabetes-ridge:1]   # short", "+  models: [diabetes-ridge:2]   # short"],
    }
    assert git(shop, "status", "--porcelain") == ""
    assert git(shop, "log", "-1", "--format=%an|%ae|%B").strip() == (
        "Test|test@example.com|Promote diabetes-ridge to 2\n\n"
        "anchored: 1 -> 2\nblock: 1 -> 2\nmapping: 1 -> 2\nquoted: 1 -> 2\nshort: 1 -> 2"
    )
    assert "latest    follows latest, which is 3: left alone (`--service latest` pins it)" in done.stdout
    assert "In production stays, as its overlay says: block 1 (environments/production.yaml:10:" in done.stdout
    assert "+  models: [diabetes-ridge:2]   # short" in done.stdout
    assert done.stdout.splitlines()[-1] == f"Committed {git(shop, 'rev-parse', 'HEAD')[:7]} to main."
    again = reconciler("promote", "diabetes-ridge", "--to", "2", cwd=shop)
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1] == (
        "Nothing to do: every service that names a version of diabetes-ridge is at 2."
    )


@pytest.mark.parametrize(
    ("service", "lines"),
    [
        ("latest", ["-  models: [diabetes-ridge:latest]", "+  models: [diabetes-ridge:2]"]),
        ("plain", ["-  - diabetes-ridge", "+  - diabetes-ridge:2"]),
        ("unnamed", ["+      version: 2"]),
    ],
)
def test_a_service_that_is_named_stops_following_latest(
    reconciler: Run, shop: Path, service: str, lines: list[str]
) -> None:
    """Whichever way it says `latest`, and nothing else changes."""
    assert reconciler("promote", "diabetes-ridge", "--to", "2", "--service", service, cwd=shop).returncode == 0
    assert changed(shop) == {f"services/{service}.yaml": lines}


def test_an_environment_is_changed_in_its_overlay(reconciler: Run, shop: Path) -> None:
    """Where the overlay says a version that is changed; where it says none, an override is added at its end."""
    done = reconciler("promote", "diabetes-ridge", "--to", "2", "--env", "production", cwd=shop)
    assert (done.returncode, done.stderr) == (0, "")
    found = changed(shop)
    assert list(found) == ["environments/production.yaml"]
    assert found["environments/production.yaml"][:4] == [
        "-        - {op: replace, path: /spec/models/0/version, value: 1}   # by hand",
        "-    - {kind: Service, name: block, spec: {models: ['diabetes-ridge:1']}}",
        "+        - {op: replace, path: /spec/models/0/version, value: 2}   # by hand",
        "+    - {kind: Service, name: block, spec: {models: ['diabetes-ridge:2']}}",
    ]
    text = (shop / "environments/production.yaml").read_text()
    assert text.endswith("\n# the end\n")
    added = yaml.safe_load(text)["spec"]["overrides"][2:]
    operation = {"op": "replace", "path": "/spec/models/0/version", "value": 2}
    assert added == [
        {"kind": "Service", "name": name, "patch": [operation]} for name in ("anchored", "mapping", "quoted")
    ]
    rendered = reconciler("render", "-o", "json", "--env", "production", cwd=shop)
    versions = {
        document["metadata"]["name"]: document["spec"]["models"][0].get("version")
        for document in json.loads(rendered.stdout)["documents"]
        if document["kind"] == "Service"
    }
    assert versions == {**dict.fromkeys(SERVICES, 2), "latest": "latest", "plain": None, "unnamed": None}
    again = reconciler("promote", "diabetes-ridge", "--to", "3", "--env", "production", cwd=shop)
    assert again.returncode == 0
    assert {line[0] for line in changed(shop)["environments/production.yaml"]} == {"+", "-"}
    assert len(yaml.safe_load((shop / "environments/production.yaml").read_text())["spec"]["overrides"]) == 5


def test_a_branch_for_a_pull_request(reconciler: Run, shop: Path, tmp_path: Path) -> None:
    """Made and pushed; the working copy, the index and uncommitted files elsewhere stay as they are."""
    git(shop, "init", "-q", "--bare", str(tmp_path / "remote.git"))
    git(shop, "remote", "add", "origin", str(tmp_path / "remote.git"))
    (shop / "notes.txt").write_text("mine")
    head = git(shop, "rev-parse", "HEAD")
    done = reconciler("promote", "diabetes-ridge", "--to", "2", "--branch", "to-2", "--push", "-o", "json", cwd=shop)
    report = json.loads(done.stdout)
    assert (done.returncode, report["branch"], report["pushed"]) == (0, "to-2", True)
    assert git(shop, "rev-parse", "HEAD") == head
    assert git(shop, "status", "--porcelain") == "?? notes.txt\n"
    assert git(tmp_path / "remote.git", "rev-parse", "to-2").strip() == report["commit"]
    assert [(r["service"], r["before"]) for r in report["changed"]][:2] == [("anchored", 1), ("block", 1)]
    assert [r["service"] for r in report["following"]] == ["latest", "plain", "unnamed"]
    assert len(changed(shop, "main", "to-2")) == len(report["files"]) == 5
    taken = reconciler("promote", "diabetes-ridge", "--to", "3", "--branch", "to-2", cwd=shop)
    assert (taken.returncode, "there is a branch 'to-2' already" in taken.stderr) == (13, True)


def test_a_dry_run_writes_nothing(reconciler: Run, shop: Path) -> None:
    """The difference is printed; uncommitted files are no hindrance."""
    (shop / "services/short.yaml").write_text((shop / "services/short.yaml").read_text() + "# mine\n")
    objects = git(shop, "count-objects", "-v")
    done = reconciler("promote", "diabetes-ridge", "--to", "2", "--dry-run", cwd=shop)
    assert done.returncode == 0
    assert "+      version: 2   # pinned" in done.stdout
    assert done.stdout.endswith("Nothing was written (--dry-run).\n")
    assert git(shop, "count-objects", "-v") == objects
    assert git(shop, "log", "--oneline").count("\n") == 2


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (("diabetes-rigde", "--to", "2"), 10, "there is no model 'diabetes-rigde'", "did you mean 'diabetes-ridge'?"),
        (("diabetes-ridge", "--to", "4"), 10, "there is no version 4 of model", "there is 1, 2, 3; a new one"),
        (("diabetes-ridge", "--to", "newest"), 10, "'newest' is no version", "--help"),
        (("diabetes-ridge", "--to", "0"), 10, "'0' is no version", "--help"),
        (("diabetes-ridge",), 10, "--to", "--help"),
        (("diabetes-ridge", "--to", "2", "--service", "shrot"), 10, "there is no service 'shrot'", "'short'"),
        (("diabetes-ridge", "--to", "2", "--push"), 10, "--push pushes a new branch", "--branch NAME"),
        (("diabetes-ridge", "--to", "2", "--ref", "HEAD"), 10, "a commit goes on the branch", "--branch"),
        (("diabetes-ridge", "--to", "2", "--branch", "a..b"), 11, "'a..b' is no name for a branch", ""),
        (("diabetes-ridge", "--to", "2", "--env", "prod"), 11, "there is no environment 'prod'", "production"),
        (("diabetes-ridge", "--to", "2", "--repo", "https://x.invalid/y"), 10, "only a repo on this machine", "clone"),
    ],
)
def test_slips_are_told(
    reconciler: Run, shop: Path, words: tuple[str, ...], code: int, message: str, hint: str
) -> None:
    """Each with what was probably meant; nothing is committed."""
    done = reconciler("promote", *words, cwd=shop)
    assert (done.returncode, message in done.stderr, hint in done.stderr) == (code, True, True), done.stderr
    assert git(shop, "log", "--oneline").count("\n") == 2


def test_uncommitted_changes_of_a_file_are_not_swept_along(reconciler: Run, shop: Path) -> None:
    """A file that is to be edited and has changes already is refused by name."""
    (shop / "services/short.yaml").write_text((shop / "services/short.yaml").read_text() + "# mine\n")
    done = reconciler("promote", "diabetes-ridge", "--to", "2", cwd=shop)
    assert done.returncode == 13
    assert "services/short.yaml has changes that are not committed" in done.stderr
    assert reconciler("promote", "diabetes-ridge", "--to", "2", "--service", "block", cwd=shop).returncode == 0


def test_what_one_line_sets_for_several_is_not_changed_for_some(reconciler: Run, shop: Path) -> None:
    """An override of all services is changed for all; with --service for one of them it is refused."""
    text = HEADER + "kind: Overlay\nmetadata: {name: wide}\nspec:\n  overrides:\n"
    (shop / "environments/wide.yaml").write_text(
        text + "    - kind: Service\n      spec: {models: [{name: diabetes-ridge, version: 1}]}\n"
    )
    commit(shop)
    some = reconciler("promote", "diabetes-ridge", "--to", "2", "--env", "wide", "--service", "short", cwd=shop)
    assert (some.returncode, "would change too: the same line sets it" in some.stderr) == (11, True)
    assert reconciler("promote", "diabetes-ridge", "--to", "2", "--env", "wide", cwd=shop).returncode == 0
    assert list(changed(shop)) == ["environments/wide.yaml"]


def test_an_anchor_that_others_use_is_left_to_people(reconciler: Run, shop: Path) -> None:
    """The error names the file and the line, and that something else would change."""
    replace_in(shop / "services/anchored.yaml", "  inference:", "  deployment: {replicas: *v}\n  inference:")
    commit(shop)
    done = reconciler("promote", "diabetes-ridge", "--to", "2", cwd=shop)
    assert done.returncode == 11
    assert (
        "services/anchored.yaml:5 cannot be changed by itself: it is shared with line 6 through an anchor"
        in done.stderr
    )
    assert git(shop, "status", "--porcelain") == ""


def test_a_manifest_folder_in_a_larger_repo(reconciler: Run, shop: Path, tmp_path: Path) -> None:
    """The commit is made at the repository's root; files beside the folder stay."""
    outer = tmp_path / "outer"
    (outer / "ml").mkdir(parents=True)
    git(outer, "init", "-q", "-b", "main")
    for path in shop.iterdir():
        if path.name != ".git":
            path.rename(outer / "ml" / path.name)
    (outer / "readme").write_text("x")
    commit(outer)
    (outer / "readme").write_text("y")
    done = reconciler("promote", "diabetes-ridge", "--to", "3", "--service", "short", "--repo", str(outer / "ml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert list(changed(outer)) == ["ml/services/short.yaml"]
    assert git(outer, "status", "--porcelain") == " M readme\n"
