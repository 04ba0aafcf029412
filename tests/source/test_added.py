"""A tree with files that are not there yet is what the tree is once they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.contents import Entry, Tree
from reconciler.core.described import SourceFile
from reconciler.source import LocalSource
from reconciler.source.added import AddedTree

from .conftest import Opener, Repo

FILES = (
    SourceFile("services/new.yaml", b"a: 1\n"),
    SourceFile("inference/new/score.py", b"print()\n"),
    SourceFile("inference/new/run.sh", b"#!/bin/sh\n", executable=True),
    SourceFile("inference/new/lib/deep.py", b""),
)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_it_is_what_git_makes_of_the_written_files(tmp_path: Path, opened: Opener, algorithm: str) -> None:
    """Ids of files and new folders, what is listed and what is read; what was there before is as it was."""
    repo = Repo(tmp_path / "repo", f"--object-format={algorithm}")
    repo.commit({"services/old.yaml": "b: 2\n", "inference/old.yaml": "c: 3\n"})
    source = opened(repo.folder)
    assert isinstance(source, LocalSource)
    added = AddedTree(source.working_tree(), FILES)
    listed = [(file.path, file.object_id) for file in added.documents()]
    folders = {path: added.object_id(path) for path in ("inference/new", "inference/new/lib")}
    assert list(added.read_all(added.documents(), 100)) == [b"c: 3\n", b"a: 1\n", b"b: 2\n"]
    assert added.read("inference/new/score.py", 100) == b"print()\n"
    assert added.size("services/old.yaml") == 5
    assert (added.is_folder("inference/new"), added.is_folder("inference/new/run.sh")) == (True, False)
    assert added.names("inference/new") == ["lib", "run.sh", "score.py"]
    assert added.names("services") == ["new.yaml", "old.yaml"]
    assert added.object_id("nowhere") is None
    entries = {entry.path: (entry.object_id, entry.size, entry.executable) for entry in _files(added)}

    for file in FILES:
        repo.write({file.path: file.data})
        if file.executable:
            (repo.folder / file.path).chmod(0o755)
    written = source.working_tree()

    assert [(file.path, file.object_id) for file in written.documents()] == listed
    assert {path: written.object_id(path) for path in folders} == folders
    assert {entry.path: (entry.object_id, entry.size, entry.executable) for entry in _files(written)} == entries
    with added.contents.open(added.object_id("services/old.yaml") or "") as stream:
        assert stream.read() == b"b: 2\n"


def _files(tree: Tree) -> list[Entry]:
    return sorted(tree.contents.files(tree.object_id("inference/new") or ""), key=lambda entry: entry.path)
