"""Git LFS: pointers are recognised, their files read from the repo's store or fetched."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.errors import InvalidError, UnavailableError
from reconciler.source.lfs import Pointer

from .conftest import Opener, Repo

DATA = b"weights" * 1000
POINTER = Pointer(hashlib.sha256(DATA).hexdigest(), len(DATA))


@given(st.binary(max_size=2000))
def test_other_bytes_are_no_pointer(data: bytes) -> None:
    """Nothing that Git LFS would not have written is taken for a pointer, and nothing fails on any bytes."""
    assert Pointer.parse(data) is None


@given(st.binary(min_size=32, max_size=32), st.integers(0, 10**15))
def test_a_pointer_reads_as_written(digest: bytes, size: int) -> None:
    """Formatting and parsing are inverse."""
    pointer = Pointer(digest.hex(), size)
    assert Pointer.parse(pointer.format()) == pointer


def store(repo: Repo) -> Path:
    """Puts the file where Git LFS keeps it."""
    place = repo.folder / ".git/lfs/objects" / POINTER.sha256[:2] / POINTER.sha256[2:4] / POINTER.sha256
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    return place


def test_a_file_in_the_repos_store_is_read(repo: Repo, opened: Opener) -> None:
    """What is in .git/lfs needs no git-lfs."""
    repo.commit({"m.bin": POINTER.format(), "a.txt": "plain"})
    store(repo)
    tree = opened(repo.folder).tree()
    with tree.contents.open_large(tree.object_id("m.bin") or "") as stream:
        assert stream.read() == DATA
    with pytest.raises(InvalidError, match="not a Git LFS pointer"):
        tree.contents.open_large(tree.object_id("a.txt") or "")


def test_a_checked_out_large_file_is_not_a_change(repo: Repo, opened: Opener) -> None:
    """The working copy holds the file, the commit its pointer: that is clean; other bytes are not."""
    repo.commit({"m.bin": POINTER.format()})
    repo.write({"m.bin": DATA})
    assert not opened(repo.folder, dirty=True).tree().revision.dirty
    repo.write({"m.bin": DATA[:-1] + b"!"})
    tree = opened(repo.folder, dirty=True).tree()
    assert tree.revision.dirty
    assert tree.size("m.bin") == len(DATA)


def test_without_git_lfs_the_message_says_what_to_install(
    repo: Repo, opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not here and a git without lfs make a clear error."""
    repo.commit({"m.bin": POINTER.format()})
    tree = opened(repo.folder).tree()
    oid = tree.object_id("m.bin") or ""
    real = shutil.which("git")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/git"
    fake.write_text(f'#!/bin/sh\n[ "$1" = lfs ] && exit 1\nexec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UnavailableError, match="git-lfs is not installed") as caught:
        tree.contents.open_large(oid)
    assert "install git-lfs" in caught.value.hint


@pytest.mark.long
@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")
@pytest.mark.parametrize("remote", [True, False])
def test_git_lfs_fetches_from_the_remote(repo: Repo, opened: Opener, tmp_path: Path, remote: bool) -> None:
    """With git-lfs installed, a clone's or a mirror's missing file comes from the remote it was pushed to."""
    bare = tmp_path / "bare.git"
    repo.git("lfs", "install", "--local")
    repo.git("lfs", "track", "*.bin")
    repo.commit({"m.bin": DATA})
    repo.git("clone", "-q", "--bare", ".", str(bare))
    repo.git("remote", "add", "origin", f"file://{bare}")
    repo.git("push", "-q", "origin", "main")
    repo.git("lfs", "push", "--all", "origin")
    shutil.rmtree(repo.folder / ".git/lfs")
    tree = opened({True: f"file://{bare}", False: str(repo.folder)}[remote], ref="main").tree()
    with tree.contents.open_large(tree.object_id("m.bin") or "") as stream:
        assert stream.read() == DATA
    missing = Pointer("0" * 64, 5)
    repo.commit({"gone.txt": missing.format()})
    repo.git("push", "-q", "--no-verify", "origin", "main")
    tree = opened({True: f"file://{bare}", False: str(repo.folder)}[remote], ref="main").tree()
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        tree.contents.open_large(tree.object_id("gone.txt") or "")
