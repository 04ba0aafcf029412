"""A working copy as it lies there, under the ids Git would give."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.core.errors import InvalidError
from reconciler.source import LocalSource, SourceSettings
from reconciler.source.working import StatCache

from .conftest import Opener, Repo

NAMES = st.sampled_from(["a", "b", "a.yaml", "a-b", "a0", "ä", "x y", "A"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
NODES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=6)),
    st.tuples(st.just("exec"), st.binary(max_size=6)),
    st.tuples(st.just("link"), PATHS.map(str.encode)),
)
TREES = st.dictionaries(PATHS, NODES, max_size=6)


def lay(root: Path, tree: dict[str, tuple[str, bytes]]) -> None:
    """Makes a folder hold exactly a tree; of paths that exclude each other the first wins."""
    for child in root.iterdir():
        {True: shutil.rmtree, False: os.unlink}[child.is_dir() and not child.is_symlink()](child) if (
            child.name != ".git"
        ) else None
    taken: set[str] = set()
    for path, (kind, data) in tree.items():
        above = {"/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)}
        clash = above & taken or any(other.startswith(f"{path}/") for other in taken)
        _ = None if clash else (taken.add(path), _put(root / path, kind, data))


def _put(full: Path, kind: str, data: bytes) -> None:
    full.parent.mkdir(parents=True, exist_ok=True)
    {"link": lambda: os.symlink(data, full)}.get(kind, lambda: full.write_bytes(data))()
    _ = kind == "exec" and full.chmod(0o755)


@example(before={"b/a": ("link", b"a")}, staged={"b": ("file", b"")}, after={"b/a": ("link", b"a")})
@given(before=TREES, staged=TREES, after=TREES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_ids_are_those_git_would_write(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, tuple[str, bytes]],
    staged: dict[str, tuple[str, bytes]],
    after: dict[str, tuple[str, bytes]],
) -> None:
    """Whatever was committed and staged before, the id of the tree is the one `git write-tree` gives."""
    repo = Repo(tmp_path_factory.mktemp("any"))
    lay(repo.folder, before)
    repo.commit()
    lay(repo.folder, staged)
    repo.git("add", "-A")
    lay(repo.folder, after)
    source = LocalSource(SourceSettings(str(repo.folder), dirty=True), repo.folder)
    tree = source.tree()
    repo.git("add", "-A")
    expected = repo.git("write-tree")
    assert tree.root_id == expected
    assert tree.revision.dirty == (expected != repo.git("rev-parse", "HEAD^{tree}"))
    source.close()


def test_untracked_and_ignored_files(repo: Repo, opened: Opener) -> None:
    """Untracked files are read, ignored ones are not there."""
    repo.commit({".gitignore": "*.log\nout/\n", "a.yaml": "1"})
    repo.write({"b.yaml": "2", "x.log": "3", "out/c.yaml": "4"})
    tree = opened(repo.folder, dirty=True).tree()
    assert [e.path for e in tree.documents()] == ["a.yaml", "b.yaml"]
    assert str(tree.revision).endswith("+dirty")
    assert tree.object_id("x.log") is None


def test_a_clean_copy_is_not_dirty(repo: Repo, opened: Opener) -> None:
    """Touching a file without changing it, or ignored files, make no difference."""
    repo.commit({"a.yaml": "1", ".gitignore": "*.log"})
    repo.write({"x.log": "1"})
    os.utime(repo.folder / "a.yaml", ns=(5, 5))
    tree = opened(repo.folder, dirty=True).tree()
    assert not tree.revision.dirty
    assert tree.root_id == repo.git("rev-parse", "HEAD^{tree}")


def test_without_asking_uncommitted_files_are_not_read(repo: Repo, opened: Opener) -> None:
    """The last commit counts; what is uncommitted can be listed."""
    repo.commit({"a.yaml": "1", "b.yaml": "1"})
    repo.write({"a.yaml": "2", "c.yaml": "3"})
    (repo.folder / "b.yaml").unlink()
    source = opened(repo.folder)
    assert source.tree().read("a.yaml", 9) == b"1"
    assert isinstance(source, LocalSource)
    assert source.uncommitted() == ("a.yaml", "b.yaml", "c.yaml")


def test_a_file_that_changes_after_it_was_identified_is_refused(repo: Repo, opened: Opener) -> None:
    """Bytes are never handed out under an id that is not theirs, whether the size changed or only the bytes."""
    repo.commit({"a.yaml": "1"})
    repo.write({"small.bin": b"12345", "large.bin": b"x" * (2 << 20), "gone.bin": b"1"})
    tree = opened(repo.folder, dirty=True).tree()
    ids = {name: tree.object_id(name) or "" for name in ("small.bin", "large.bin", "gone.bin")}
    repo.write({"small.bin": b"12346", "large.bin": b"y" * (2 << 20)})
    (repo.folder / "gone.bin").unlink()
    for oid in ids.values():
        with pytest.raises(InvalidError, match="changed while it was being used"), tree.contents.open(oid) as stream:
            stream.read()


def test_an_unchanged_file_is_not_hashed_again(tmp_path: Path) -> None:
    """The second look at a file with the same stamp does not read it; a changed stamp does."""
    target = tmp_path / "m.bin"
    target.write_bytes(b"1")
    os.utime(target, (1, 1))
    cache = StatCache()
    first, stamp = cache.identify(tmp_path, "m.bin", "sha1")
    target.chmod(0)
    cache._known["m.bin"] = (_restamp(target), first)
    assert cache.identify(tmp_path, "m.bin", "sha1")[0] == first
    assert stamp[0] == 1


def _restamp(path: Path) -> tuple[int, int, int, int, int]:
    status = path.lstat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def test_a_nested_repo_is_reported_like_a_submodule(repo: Repo, opened: Opener) -> None:
    """An untracked repository inside is not read, and a path into it says why."""
    repo.commit({"a.yaml": "1"})
    Repo(repo.folder / "inner").commit({"b.yaml": "2"})
    tree = opened(repo.folder, dirty=True).tree()
    assert [e.path for e in tree.documents()] == ["a.yaml"]
    with pytest.raises(InvalidError, match="submodule"):
        tree.object_id("inner/b.yaml")


def test_uncommitted_files_need_a_working_copy_at_head(repo: Repo, opened: Opener, tmp_path: Path) -> None:
    """A bare repo has no files, and another ref has other files."""
    repo.commit({"a.yaml": "1"})
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    with pytest.raises(InvalidError, match="bare"):
        opened(tmp_path / "bare.git", dirty=True)
    with pytest.raises(InvalidError, match="HEAD"):
        opened(repo.folder, dirty=True, ref="main")
