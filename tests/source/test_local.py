"""Reading local repositories: refs, paths, files, links."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.core.contents import Contents, Tree
from reconciler.core.errors import AccessError, InvalidError
from reconciler.source import Limits

from .conftest import Opener, Repo


def test_reads_the_manifests_of_the_last_commit(repo: Repo, opened: Opener) -> None:
    """Documents are the YAML files of HEAD, sorted, with Git's ids and sizes."""
    sha = repo.commit(
        {"services/b.yaml": "b: 1\n", "services/a.yml": "a", "models/m.pkl": b"\0", ".ci/x.yaml": "no"}, "First\n\nBody"
    )
    source = opened(repo.folder)
    tree: Tree = source.tree()
    contents: Contents = tree.contents
    assert [e.path for e in tree.documents()] == ["services/a.yml", "services/b.yaml"]
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


@pytest.mark.parametrize("ref", ["main", "refs/heads/main", "v1", "light", "HEAD", ""])
def test_follows_a_ref(repo: Repo, opened: Opener, ref: str) -> None:
    """Branches, full names, annotated and light tags all name their commit."""
    sha = repo.commit({"a.yaml": "1"})
    repo.git("tag", "-a", "-m", "v1", "v1")
    repo.git("tag", "light")
    assert opened(repo.folder, ref=ref).fetch().sha == sha


def test_follows_a_commit(repo: Repo, opened: Opener) -> None:
    """A commit is read as it was, whatever HEAD is now, and shows no ref."""
    first = repo.commit({"a.yaml": "1"})
    repo.commit({"a.yaml": "2"})
    tree = opened(repo.folder, ref=first).tree()
    assert tree.read("a.yaml", 9) == b"1"
    assert (tree.revision.sha, tree.revision.ref) == (first, "")


def test_reads_a_bare_repo(repo: Repo, opened: Opener, tmp_path: Path) -> None:
    """A bare repo is read in place."""
    sha = repo.commit({"a.yaml": "1"})
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    assert opened(tmp_path / "bare.git").tree().revision.sha == sha


def test_reads_a_worktree(repo: Repo, opened: Opener, tmp_path: Path) -> None:
    """A linked worktree has its own HEAD and its own files."""
    repo.commit({"a.yaml": "1"})
    repo.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    (tmp_path / "tree/a.yaml").write_text("22")
    tree = opened(tmp_path / "tree", dirty=True).tree()
    assert (tree.revision.ref, tree.revision.dirty, tree.read("a.yaml", 9)) == ("other", True, b"22")


def test_reads_a_repo_of_sha256_objects(tmp_path: Path, opened: Opener) -> None:
    """The newer object format works, uncommitted files included."""
    repo = Repo(tmp_path / "new", "--object-format=sha256")
    sha = repo.commit({"a/a.yaml": "1"})
    repo.write({"a/b.yaml": "2"})
    tree = opened(repo.folder, dirty=True).tree()
    assert (len(sha), tree.revision.sha, tree.revision.dirty) == (64, sha, True)
    repo.git("add", "-A")
    assert tree.object_id("") == repo.git("write-tree")


def test_a_sub_path_is_the_root_of_what_is_read(repo: Repo, opened: Opener) -> None:
    """With a manifest path, documents and paths are relative to it, and `..` reaches the rest of the repo."""
    repo.commit({"envs/prod/a.yaml": "1", "b.yaml": "2"})
    tree = opened(repo.folder, path="envs/prod/").tree()
    assert [entry.path for entry in tree.documents()] == ["a.yaml"]
    assert tree.read("../../b.yaml", 9) == b"2"


def test_a_folder_inside_a_working_copy_is_a_sub_path(repo: Repo, opened: Opener) -> None:
    """Naming a folder below the repo's root reads that folder."""
    repo.commit({"envs/prod/a.yaml": "1", "b.yaml": "2"})
    assert [entry.path for entry in opened(repo.folder / "envs").tree().documents()] == ["prod/a.yaml"]


def test_unknown_ref_names_those_that_are_like_it(repo: Repo, opened: Opener) -> None:
    """A typo in a ref gets a did-you-mean."""
    repo.commit({"a.yaml": "1"})
    with pytest.raises(InvalidError, match="no branch, tag or commit 'mian'") as caught:
        opened(repo.folder, ref="mian").tree()
    assert "main" in caught.value.hint


def test_missing_path_names_those_that_are_like_it(repo: Repo, opened: Opener) -> None:
    """A typo in the manifest path gets a did-you-mean."""
    repo.commit({"envs/prod/a.yaml": "1"})
    with pytest.raises(InvalidError, match="no folder 'envs/prd'") as caught:
        opened(repo.folder, path="envs/prd").tree()
    assert "envs/prod" in caught.value.hint


def test_a_repo_without_commits_says_so(repo: Repo, opened: Opener) -> None:
    """Nothing committed yet is an error with the way on."""
    with pytest.raises(InvalidError, match="no commits yet"):
        opened(repo.folder).tree()


def test_files_are_read_before_the_first_commit(repo: Repo, opened: Opener) -> None:
    """All of them are uncommitted, in the index or not."""
    for name in ("a.yaml", "b.yaml"):
        (repo.folder / name).write_text(name)
    repo.git("add", "a.yaml")
    source = opened(repo.folder)
    tree = source.working_tree()
    assert (tree.revision.dirty, tree.revision.subject) == (True, "no commit yet")
    assert [tree.read(name, 100) for name in ("a.yaml", "b.yaml")] == [b"a.yaml", b"b.yaml"]
    assert source.uncommitted() == ("a.yaml", "b.yaml")


def test_a_folder_that_is_no_repo_says_so(tmp_path: Path, opened: Opener) -> None:
    """A folder without .git, a missing folder and a file each get their message."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidError, match="is not a Git repository, and neither"):
        opened(tmp_path / "plain")
    with pytest.raises(InvalidError, match="does not exist"):
        opened(tmp_path / "absent")
    with pytest.raises(InvalidError, match="is a file"):
        opened(tmp_path / "file")


def test_a_damaged_repo_says_so(repo: Repo, opened: Opener) -> None:
    """A repo whose HEAD is garbage, or whose objects are gone, ends in a message."""
    repo.commit({"a.yaml": "1"})
    source = opened(repo.folder)
    oid = repo.git("rev-parse", "HEAD:a.yaml")
    lost = repo.folder / ".git/objects" / oid[:2] / oid[2:]
    lost.chmod(0o600)
    lost.unlink()
    with pytest.raises(InvalidError, match=f"{oid} is not in"):
        source.tree().read("a.yaml", 10)
    (repo.folder / ".git/HEAD").write_text("garbage\n")
    with pytest.raises(InvalidError, match="not a Git repository"):
        opened(repo.folder)


@pytest.mark.parametrize(
    "location",
    [
        "ext::sh -c touch% /tmp/owned",
        "--upload-pack=touch x",
        "-oProxyCommand=x",
        "ftp://example.com/x",
        "ssh://-oProxyCommand=x/y",
        "git@example.com:-x",
        "file://host/x",
        "https://",
        "http://[::1/x",
        "",
        "a\nb",
    ],
)
def test_dangerous_locations_are_refused(opened: Opener, location: str) -> None:
    """Transport helpers, options and unknown schemes never reach git."""
    with pytest.raises(InvalidError):
        opened(location)


@pytest.mark.parametrize(
    "ref", ["--upload-pack=x", "-h", "a..b", "HEAD@{1}", "~1", "HEAD^{tree}", "a b", "x\x00", "@{-1}", ":/x"]
)
def test_dangerous_refs_are_refused(repo: Repo, opened: Opener, ref: str) -> None:
    """Options and expressions are no refs."""
    repo.commit({"a.yaml": "1"})
    with pytest.raises(InvalidError):
        opened(repo.folder, ref=ref).fetch()


@pytest.mark.parametrize(("ref", "steps"), [("HEAD~1", 1), ("main^", 1), ("main~2", 2), ("HEAD^^", 2)])
def test_ancestors_are_named_as_in_git(repo: Repo, opened: Opener, ref: str, steps: int) -> None:
    """A local repo has its whole history, so the ways to count back in it are taken."""
    shas = [repo.commit({"a.yaml": str(number)}) for number in range(3)]

    assert opened(repo.folder, ref=ref).fetch().sha == shas[-1 - steps]


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../b"])
def test_paths_out_of_the_repo_are_refused(repo: Repo, opened: Opener, path: str) -> None:
    """The manifest path stays inside."""
    repo.commit({"a.yaml": "1"})
    with pytest.raises(InvalidError):
        opened(repo.folder, path=path)


def test_nothing_of_the_repos_settings_runs(repo: Repo, opened: Opener, tmp_path: Path) -> None:
    """Hooks, fsmonitor and filters that a repo's own config names are not executed."""
    proof = tmp_path / "proof"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {proof}\ncat\n")
    script.chmod(0o755)
    repo.commit({"a.yaml": "1", ".gitattributes": "*.yaml filter=evil\n"})
    repo.git("config", "core.fsmonitor", str(script))
    repo.git("config", "filter.evil.clean", str(script))
    repo.git("config", "filter.evil.smudge", str(script))
    repo.git("config", "filter.evil.required", "true")
    repo.git("config", "core.sshCommand", str(script))
    os.utime(repo.folder / "a.yaml", ns=(1, 1))
    tree = opened(repo.folder, dirty=True).tree()
    assert list(tree.documents())
    assert not tree.revision.dirty
    assert not proof.exists()


def test_symlinks_inside_the_repo_are_followed(repo: Repo, opened: Opener) -> None:
    """Links to files and folders work, also in chains and through folders; nothing is listed twice."""
    repo.write({"base/models/m.yaml": "m", "base/note.txt": "n", "prod/own.yaml": "o"})
    (repo.folder / "prod/models").symlink_to("../base/models")
    (repo.folder / "prod/chain.yaml").symlink_to("again.yaml")
    (repo.folder / "prod/again.yaml").symlink_to("models/../models/m.yaml")
    repo.commit()
    prod = opened(repo.folder, path="prod").tree()
    assert [e.path for e in prod.documents()] == ["again.yaml", "chain.yaml", "models/m.yaml", "own.yaml"]
    assert prod.read("chain.yaml", 9) == b"m"
    assert prod.object_id("models") == repo.git("rev-parse", "HEAD:base/models")
    whole = opened(repo.folder).tree()
    assert [e.path for e in whole.documents()] == ["base/models/m.yaml", "prod/own.yaml"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/etc/passwd", "absolute path"),
        ("../../outside", "leaves the repository"),
        ("link.yaml", "circles"),
        ("nowhere", "no file"),
    ],
)
def test_symlinks_that_cannot_be_followed_are_problems(repo: Repo, opened: Opener, target: str, message: str) -> None:
    """A link out of the repo, a loop and a broken one are listed; reading them names what is wrong."""
    repo.write({"x/own.yaml": "o"})
    (repo.folder / "x/link.yaml").symlink_to(target)
    repo.commit()
    tree = opened(repo.folder).tree()
    assert [e.path for e in tree.documents()] == ["x/link.yaml", "x/own.yaml"]
    with pytest.raises(InvalidError, match=message) as caught:
        tree.read("x/link.yaml", 100)
    assert "x/link.yaml" in str(caught.value.problems[0])


def test_a_link_to_a_folder_above_ends(repo: Repo, opened: Opener) -> None:
    """A folder that links to its parent does not make an endless tree."""
    repo.write({"x/y/own.yaml": "o", "z/a.yaml": "a"})
    (repo.folder / "x/y/up").symlink_to("../..")
    (repo.folder / "z/x").symlink_to("../x")
    repo.commit()
    assert [e.path for e in opened(repo.folder).tree().documents()] == ["x/y/own.yaml", "z/a.yaml"]
    inner = opened(repo.folder, path="z").tree()
    assert inner.revision
    assert "x/y/own.yaml" in [e.path for e in inner.documents()]
    with pytest.raises(InvalidError, match=r"leaves the repository|holds it|leaves"):
        list(inner.contents.files(inner.object_id("x") or ""))


def test_a_submodule_is_named(repo: Repo, opened: Opener) -> None:
    """A path into a submodule says that its files are not here."""
    sha = repo.commit({"a.yaml": "1"})
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{sha},sub")
    repo.git("commit", "-q", "-m", "sub")
    tree = opened(repo.folder).tree()
    with pytest.raises(InvalidError, match="sub is a Git submodule"):
        tree.object_id("sub/score.py")
    with pytest.raises(InvalidError, match="sub is a Git submodule"):
        tree.contents.files(tree.object_id("") or "")
    assert [e.path for e in tree.documents()] == ["a.yaml"]


def test_files_of_a_folder_and_of_a_file(repo: Repo, opened: Opener) -> None:
    """`files` lists a folder with its links followed, or a single file under an empty path."""
    repo.write({"code/score.py": "s", "code/lib/x.py": "xx"})
    (repo.folder / "code/run.sh").write_text("#!")
    (repo.folder / "code/run.sh").chmod(0o755)
    (repo.folder / "code/same.py").symlink_to("lib/x.py")
    (repo.folder / "code/again").symlink_to("lib")
    repo.commit()
    tree = opened(repo.folder).tree()
    files = list(tree.contents.files(tree.object_id("code") or ""))
    assert [(e.path, e.size, e.executable) for e in files] == [
        ("again/x.py", 2, False),
        ("lib/x.py", 2, False),
        ("run.sh", 2, True),
        ("same.py", 2, False),
        ("score.py", 1, False),
    ]
    assert [e.path for e in tree.contents.files(tree.object_id("code/score.py") or "")] == [""]


def test_a_link_out_of_a_folder_is_refused_in_its_files(repo: Repo, opened: Opener) -> None:
    """A folder's identity would not cover what a link out of it names, so such a link is refused."""
    repo.write({"code/score.py": "s", "lib/x.py": "x"})
    (repo.folder / "code/x.py").symlink_to("../lib/x.py")
    repo.commit()
    tree = opened(repo.folder).tree()
    with pytest.raises(InvalidError, match=r"x\.py.*leaves"):
        tree.contents.files(tree.object_id("code") or "")


def test_limits_end_the_walk(repo: Repo, opened: Opener) -> None:
    """Too many files, too deep folders and too large files are errors with the numbers."""
    repo.commit({f"a/{n}.yaml": "1" for n in range(11)} | {"d/" * 9 + "x.yaml": "1", "big.yaml": "x" * 99})
    with pytest.raises(InvalidError, match="more than 10 files"):
        opened(repo.folder, limits=Limits(files=10)).tree().documents()
    with pytest.raises(InvalidError, match="deeper than 5"):
        opened(repo.folder, limits=Limits(depth=5)).tree().documents()
    with pytest.raises(InvalidError, match="99 bytes, more than the 50"):
        opened(repo.folder).tree().read("big.yaml", 50)


def test_large_files_are_streamed(repo: Repo, opened: Opener) -> None:
    """A blob above the limit of what is held in memory comes through whole, and can be left half read."""
    data = os.urandom(3 << 20)
    repo.commit({"m.bin": data})
    tree = opened(repo.folder).tree()
    oid = tree.object_id("m.bin") or ""
    with tree.contents.open(oid) as stream:
        assert stream.read() == data
    with tree.contents.open(oid) as stream:
        assert stream.read(10) == data[:10]


def test_readers_in_threads_do_not_mix(repo: Repo, opened: Opener) -> None:
    """Many threads reading through one source each get their own bytes."""
    files: dict[str, str | bytes] = {f"{n}.yaml": f"{n}" * (n + 1) for n in range(60)}
    repo.commit(files)
    tree = opened(repo.folder).tree()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda path: tree.read(path, 1000), [*files] * 5))
    assert got == [str(data).encode() for data in files.values()] * 5


def test_a_killed_reader_is_started_again(repo: Repo, opened: Opener) -> None:
    """When git's reading process dies, the next read starts another."""
    repo.commit({"a.yaml": "1"})
    source = opened(repo.folder)
    tree = source.tree()
    source.close()
    assert tree.read("a.yaml", 9) == b"1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_repo_is_read_only_if_trusted(repo: Repo, opened: Opener) -> None:
    """A repo of another user gets a clear message, and is read where the operator trusts it."""
    repo.commit({"a.yaml": "1"})
    subprocess.run(["chown", "-R", "12345", repo.folder], check=True)
    with pytest.raises(AccessError, match="belongs to another user"):
        opened(repo.folder)
    assert opened(repo.folder, trusted=True).tree().read("a.yaml", 9) == b"1"
