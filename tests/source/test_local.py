"""Reading local repositories: refs, paths, files, links."""

from __future__ import annotations

from reconciler.core.contents import Contents, Tree

from .conftest import Opener, Repo


def test_reads_the_manifests_of_the_last_commit(repo: Repo, opened: Opener) -> None:
    """Documents are the YAML files of HEAD, sorted, with Git's ids and sizes."""
    sha = repo.commit(
        {"services/b.yaml": "b: 1\n", "services/a.yml": "a", "models/m.pkl": b"\0", ".ci/x.yaml": "no"}, "First\n\nBody"
    )
    source = opened(repo.folder)
    tree: Tree = source.tree()
    contents: Contents = tree.contents
    assert [(e.path, e.size) for e in tree.documents()] == [("services/a.yml", 1), ("services/b.yaml", 5)]
    assert tree.revision.sha == sha
    assert (tree.revision.ref, tree.revision.subject, tree.revision.dirty) == ("main", "First", False)
    assert tree.revision.committed_at > 1.6e9
    assert tree.read("services/b.yaml", 100) == b"b: 1\n"
    assert tree.object_id("services/b.yaml") == repo.git("rev-parse", "HEAD:services/b.yaml")
    assert tree.object_id("services") == repo.git("rev-parse", "HEAD:services")
    assert tree.object_id("nothing/here") is None
    assert tree.names("services") == ["a.yml", "b.yaml"]
    assert tree.is_folder("services")
    assert tree.size("models/m.pkl") == 1
    oid = tree.object_id("models/m.pkl")
    assert oid is not None
    with contents.open(oid) as stream:
        assert stream.read() == b"\0"
