"""`import azureml` from the outside: files in, manifests out, and a plan of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run, commit, git

INFERENCE = {
    "entryScript": "score.py",
    "runtime": "python",
    "sourceDirectory": "source",
    "condaFile": "env.yml",
    "extraDockerfileSteps": None,
}
SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"


def project(folder: Path) -> Path:
    """What one had for `az ml model deploy`."""
    (folder / "source/__pycache__").mkdir(parents=True)
    (folder / "source/score.py").write_text(SCRIPT)
    (folder / "source/env.yml").write_text("name: x\ndependencies: [python=3.11]\n")
    (folder / "source/__pycache__/score.pyc").write_bytes(b"x")
    (folder / "model.pkl").write_bytes(b"bytes")
    (folder / "ic.json").write_text(json.dumps(INFERENCE, indent=4))
    (folder / "local.json").write_text('{"computeType": "LOCAL", "port": 32267}')
    (folder / "aks.json").write_text('{"computeType": "AKS", "keys": {"primaryKey": "canary"}, "x": 1}')
    return folder


@pytest.fixture
def shop(repo: Path) -> Path:
    """A manifest repo without services of its own."""
    git(repo, "rm", "-qr", "services", "inference", "models")
    commit(repo, "Nothing yet")
    return repo


def test_a_project_elsewhere_is_brought_in_and_planned(reconciler: Run, shop: Path, tmp_path: Path) -> None:
    """Files are copied, manifests are written, all is valid, and the plan is what was deployed."""
    old = project(tmp_path / "old")
    words = ("import", "azureml", "--inference", f"{old}/ic.json", "--deployment", f"{old}/local.json")
    model = ("--model", f"ridge:3={old}/model.pkl")
    shown = reconciler(*words, *model, "--dry-run", cwd=shop)
    assert (shown.returncode, "Nothing was written" in shown.stdout) == (0, True)
    assert git(shop, "status", "--porcelain") == ""
    done = reconciler(*words, *model, cwd=shop)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The manifests are valid. Next: reconciler plan" in done.stdout
    assert sorted(git(shop, "status", "--porcelain", "-uall").split()[1::2]) == [
        "inference/ridge.yaml",
        "inference/ridge/env.yml",
        "inference/ridge/score.py",
        "models/model.pkl",
        "models/ridge-3.yaml",
        "services/ridge.yaml",
    ]
    plan = reconciler("plan", "--offline", cwd=shop)
    assert "ridge:3, 1 process, port 32267" in plan.stdout
    again = reconciler(*words, "--model", "ridge:3", cwd=shop)
    assert (again.returncode, "nothing is overwritten" in again.stderr) == (13, True)
    higher = reconciler(*words, "--model", "ridge:4", cwd=shop)
    assert (higher.returncode, "declares 'ridge', but not version 4" in higher.stderr) == (10, True)
    other = reconciler(*words, "--model", "ridge:3", "--name", "second", "-o", "json", cwd=shop)
    assert json.loads(other.stdout)["files"] == [
        "inference/second.yaml",
        "inference/second/env.yml",
        "inference/second/score.py",
        "services/second.yaml",
    ]


def test_a_project_in_the_repo_stays_where_it_is(reconciler: Run, shop: Path) -> None:
    """Its paths are those of the repo; a target that has to be filled in and keys are left to do."""
    project(shop / "scoring")
    (shop / "models").mkdir()
    shutil.move(shop / "scoring/model.pkl", shop / "models/ridge")
    done = reconciler(
        *("import", "azureml", "--inference", "ic.json", "--deployment", "aks.json", "--model", "ridge:1"),
        cwd=shop / "scoring",
    )
    assert done.returncode == 0, done.stderr
    assert "sourceDirectory: scoring/source" in (shop / "inference/ridge.yaml").read_text()
    assert "path: models/ridge\n" in (shop / "models/ridge-1.yaml").read_text()
    assert "clusterName: change-me" in (shop / "targets/aks.yaml").read_text()
    assert "RIDGE_PRIMARY_KEY" in done.stdout
    assert "aks.json:1:63: x: Azure ML does not know this key" in done.stdout
    assert "canary" not in done.stdout + "".join(p.read_text() for p in shop.rglob("*.yaml"))


def test_models_whose_files_have_one_name_keep_their_bytes(reconciler: Run, shop: Path, tmp_path: Path) -> None:
    """Beside each other in one call, and beside what the repo has; files keep their names, which scripts know."""
    old = project(tmp_path / "old")
    (old / "other").mkdir()
    (old / "other/model.pkl").write_bytes(b"other bytes")
    words = ("import", "azureml", "--inference", f"{old}/ic.json")
    models = ("--model", f"ridge:1={old}/model.pkl", "--model", f"lasso:2={old}/other/model.pkl")
    done = reconciler(*words, *models, cwd=shop)
    assert (done.returncode, done.stderr) == (0, "")
    assert "path: models/model.pkl\n" in (shop / "models/ridge-1.yaml").read_text()
    assert "path: models/lasso-2/model.pkl\n" in (shop / "models/lasso-2.yaml").read_text()
    assert (shop / "models/model.pkl").read_bytes() == b"bytes"
    assert (shop / "models/lasso-2/model.pkl").read_bytes() == b"other bytes"
    later = reconciler(*words, "--model", f"elastic={old}/other/model.pkl", cwd=shop)
    assert (later.returncode, (shop / "models/elastic/model.pkl").read_bytes()) == (0, b"other bytes")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--inference", "none.json"), 11, "none.json cannot be read: No such file"),
        (("--inference", "ic.json", "--model", "ridge:1"), 10, "az ml model download -i ridge:1"),
        (("--inference", "ic.json", "--model", "ridge:1=x.pkl"), 11, "there is no file x.pkl"),
        (("--inference", "ic.json", "--model", "ridge:1=.."), 10, "holds the manifest repo itself"),
        (("--inference", "ic.json", "--model", "ridge:latest"), 10, "is no model"),
        (("--inference", "ic.json", *("--model", "ridge:1=model.pkl") * 2), 10, "model ridge:1 is given twice"),
        (("--inference", "ic.json", "--name", "Ridge"), 10, "'Ridge' is no name for a service"),
        (("--inference", "ic.json", "--ref", "HEAD"), 10, "leave out --ref"),
        (("--inference", "lost.json", "--name", "x"), 11, "lost.json:1:17: error: there is no gone.py [missing-file]"),
        (("--inference", "bad.json", "--name", "x"), 11, "bad.json:1:17: error: `entryScript` must be text"),
        (("--model", "ridge:1=model.pkl"), 10, "--inference"),
    ],
)
def test_slips_are_told_and_nothing_is_written(
    reconciler: Run, shop: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    """Each with its place or with what to do."""
    old = project(tmp_path / "old")
    (old / "lost.json").write_text('{"entryScript": "gone.py"}')
    (old / "bad.json").write_text('{"entryScript": 1}')
    done = reconciler("import", "azureml", *words, "--repo", str(shop), cwd=old)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert git(shop, "status", "--porcelain") == ""


def test_what_was_written_is_taken_back_when_something_fails(reconciler: Run, shop: Path, tmp_path: Path) -> None:
    """A place that cannot be written leaves nothing half done."""
    old = project(tmp_path / "old")
    (shop / "services").write_text("a file where a folder should be")
    commit(shop)
    words = ("--inference", f"{old}/ic.json", "--model", f"ridge:3={old}/model.pkl")
    done = reconciler("import", "azureml", *words, cwd=shop)
    assert (done.returncode, "services already, and nothing is overwritten" in done.stderr) == (13, True)
    assert git(shop, "status", "--porcelain", "-uall") == ""
    assert not (shop / "inference").exists()
