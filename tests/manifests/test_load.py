"""Which files hold manifests, and what is remembered between loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.manifests import DocumentCache, load, resolve
from tests.manifests.golden import GOOD
from tests.manifests.trees import MemoryTree

HEADER = "apiVersion: reconciler/v1\n"
CONDA = "name: x\ndependencies: [python=3.11]\n"


def codes(files: dict[str, str]) -> list[tuple[str, str]]:
    """Code and file of every problem."""
    return [
        (problem.code, problem.position.file if problem.position else "")
        for problem in load(MemoryTree({**GOOD, **files})).problems
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("inference/sklearn/conda.yml", CONDA),
        ("models/net/labels.yaml", "- cat\n- dog\n"),
        ("models/net/broken.yaml", "a: [\n"),
        ("charts/values.yaml", "a: {{ broken }}\n: ["),
        ("k8s/service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n"),
        ("services/empty.yaml", "# nothing here yet\n"),
        ("services/separators.yaml", "---\n---\n"),
        ("data/large.yaml", "- some data\n" * 200_000),
        ("models/net/large.yaml", "- some data\n" * 200_000),
    ],
)
def test_yaml_that_is_no_manifest_is_left_alone(path: str, text: str) -> None:
    """Conda files, charts, data and empty files are no problem where they may stand."""
    assert codes({path: text}) == []


@pytest.mark.parametrize(
    ("path", "text", "code"),
    [
        ("services/env.yml", CONDA, "missing-key"),
        ("services/list.yaml", "- a\n", "not-a-manifest"),
        ("services/broken.yaml", "a: [\n", "yaml-syntax"),
        ("inference/x.yaml", "kind: InferenceConfig\nspec: {}\n", "missing-key"),
        ("k8s/later.yaml", "apiVersion: reconciler/v9\nkind: Service\n", "unknown-api-version"),
        ("elsewhere/broken.yaml", HEADER + "a: [\n", "yaml-syntax"),
        ("elsewhere/large.yaml", HEADER + "# more\n" * 200_000, "yaml-limit"),
        ("services/large.yaml", "- some data\n" * 200_000, "yaml-limit"),
    ],
)
def test_what_may_be_a_manifest_is_never_passed_over(path: str, text: str, code: str) -> None:
    """A file that would be a manifest but for a mistake is reported, since to skip it would mean a deletion."""
    assert (code, path) in codes({path: text})


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("path", ["environments/production.yaml", "models/net.yaml", "elsewhere/x.yaml"])
def test_a_manifest_in_another_encoding_is_not_passed_over(path: str, encoding: str) -> None:
    """Shells of Windows write UTF-16 where they are told nothing else."""
    text = HEADER + "kind: Overlay\nmetadata: {name: production}\nspec: {overrides: []}\n"
    tree = MemoryTree(
        {
            **GOOD,
            path: f"\ufeff{text}".encode(encoding),
            "inference/other.yml": f"\ufeff{CONDA}".encode(encoding),
        }
    )
    assert [(p.code, str(p.position)) for p in load(tree).problems] == [("yaml-encoding", f"{path}:1:1")]


def test_a_manifest_counts_wherever_its_file_is() -> None:
    """The kind decides, the folder is a habit."""
    tree = MemoryTree({**GOOD, "team/a/b.yml": HEADER + "kind: Target\nmetadata: {name: t}\nspec: {type: local}\n"})
    assert "t" in load(tree).targets


def test_one_broken_file_among_many_stops_only_what_stands_in_it() -> None:
    """All errors are in one sorted report; healthy services still resolve; the report says it is not complete."""
    files = {
        f"services/s{i:03}.yaml": HEADER
        + f"kind: Service\nmetadata: {{name: s{i:03}}}\nspec: {{models: [ridge], inference: sklearn}}\n"
        for i in range(200)
    }
    files["services/s007.yaml"] = HEADER + "kind: Service\nmetadata: {name: s007}\nspec: {inference: [\n"
    files["services/s100.yaml"] = files["services/s100.yaml"].replace("inference:", "inferense:")
    tree = MemoryTree({**GOOD, **files})
    found = resolve(load(tree), tree, {})
    assert [str(p.position) for p in found.problems] == [
        "services/s007.yaml:5:1",
        "services/s100.yaml:4:1",
        "services/s100.yaml:4:25",
    ]
    assert len(found.deployments) == 199
    assert not found.complete
    assert "s100" in found.incomplete


def test_only_changed_files_are_read_again() -> None:
    """Loading with the last result reads one file if one file changed, and keeps all other manifests."""
    tree = MemoryTree(GOOD)
    first = load(tree)
    changed = tree.changed({"services/diabetes.yaml": GOOD["services/diabetes.yaml"] + "# note\n"})
    second = load(changed, previous=first)
    assert changed.reads == ["services/diabetes.yaml"]
    assert second.models["ridge"][0] is first.models["ridge"][0]
    assert second.services["diabetes"] is first.services["diabetes"]


def test_nothing_changed_gives_the_same_repo() -> None:
    """Loading the same tree again gives the very same result."""
    tree = MemoryTree(GOOD)
    first = load(tree)
    assert load(tree, previous=first) is first


def test_the_cache_on_disk_saves_all_parsing(tmp_path: Path) -> None:
    """A second process reads no manifest and does not even import pydantic; its result is equal."""
    tree = MemoryTree(GOOD)
    cache = DocumentCache(tmp_path / "documents")
    found = resolve(load(tree, cache), tree, {}, cache=cache)
    cache.save()
    (tmp_path / "run.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom tests.manifests.golden import GOOD\n"
        "from tests.manifests.trees import MemoryTree\n"
        "from reconciler.manifests import DocumentCache, load, resolve\n"
        "tree, cache = MemoryTree(GOOD), DocumentCache(Path(sys.argv[1]))\n"
        "found = resolve(load(tree, cache), tree, {}, cache=cache)\n"
        "print(sorted(tree.reads), 'pydantic' in sys.modules, found.deployments)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "documents")],
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"['inference/sklearn/env.yml'] False {found.deployments}\n"


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_cache_is_ignored(tmp_path: Path, damage: bytes | None) -> None:
    """A cache that is cut off, overwritten or changed in a byte is made anew."""
    path = tmp_path / "documents"
    tree = MemoryTree(GOOD)
    cache = DocumentCache(path)
    load(tree, cache)
    cache.save()
    good = path.read_bytes()
    path.write_bytes(good[:-9] + b"x" + good[-8:] if damage is None else damage)
    assert load(tree, DocumentCache(path)).services.keys() == {"diabetes"}


def test_a_cache_that_others_may_write_is_not_read(tmp_path: Path) -> None:
    """The cache is trusted like the program, so it must be the owner's alone."""
    path = tmp_path / "documents"
    tree = MemoryTree(GOOD)
    cache = DocumentCache(path)
    load(tree, cache)
    cache.save()
    assert path.stat().st_mode & 0o077 == 0
    path.chmod(0o666)
    again = MemoryTree(GOOD)
    load(again, DocumentCache(path))
    assert len(again.reads) == 3 + 1


def test_a_cache_in_a_folder_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    """Where the cache cannot be written, work goes on without it."""
    cache = DocumentCache(tmp_path / "gone" / "documents")
    assert load(MemoryTree(GOOD), cache).sound
    cache.save()


def test_problems_are_reported_again_with_a_warm_cache(tmp_path: Path) -> None:
    """A file with problems is read again, so that its report never depends on what was remembered."""
    tree = MemoryTree({**GOOD, "services/x.yaml": HEADER + "kind: Service\nmetadata: {name: x}\nspec: {a: 1}\n"})
    cache = DocumentCache(tmp_path / "documents")
    first = load(tree, cache)
    cache.save()
    assert load(tree, DocumentCache(tmp_path / "documents")).problems == first.problems
