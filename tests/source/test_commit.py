"""Commits made of Git's objects: what they change, in whose name, and what they leave alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import pytest

from reconciler.core.errors import AccessError, InvalidError, RefusedError, StaleError, UnavailableError
from reconciler.source.commit import Committing
from reconciler.source.local import LocalSource
from reconciler.source.person import person
from tests.source.conftest import Opener, Repo

FILES: dict[str, str | bytes] = {"a.yaml": "v: 1\n", "deep/er/b.yaml": "v: 1\r\n", "deep/c.txt": "c\n"}


def raised(data: bytes) -> bytes:
    """The edit of these tests."""
    return data.replace(b"v: 1", b"v: 2")


EDITS: Mapping[str, Callable[[bytes], bytes]] = {"a.yaml": raised, "deep/er/b.yaml": raised}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the config of somebody."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / ".gitconfig").write_text("[user]\nname = Grace\nemail = grace@example.com\n")
    return folder


@pytest.fixture
def source(repo: Repo, opened: Opener) -> LocalSource:
    """A repository with a commit."""
    repo.commit(FILES)
    return cast("LocalSource", opened(repo.folder))


def committing(source: LocalSource, home: Path, **environ: str) -> Committing:
    """Commits in the name of whoever lives there."""
    return Committing(source, person(source.git, {"HOME": str(home), **environ}))


def snapshot(repo: Repo) -> dict[str, bytes]:
    """Every file of the working copy, and Git's index and HEAD."""
    kept = [path for path in repo.folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    kept += [repo.folder / ".git" / "index", repo.folder / ".git" / "HEAD"]
    return {str(path.relative_to(repo.folder)): path.read_bytes() for path in kept}


def test_a_new_branch_disturbs_nothing(source: LocalSource, repo: Repo, home: Path) -> None:
    """The commit is on the branch; files, index and HEAD are as they were, uncommitted work too."""
    repo.write({"deep/c.txt": "mine\n"})
    repo.git("add", "-A")
    repo.write({"new.txt": "x"})
    before, head = snapshot(repo), repo.git("rev-parse", "HEAD")
    sha = committing(source, home).commit(head, EDITS, "Raise\n\nboth\n", "raise")
    assert snapshot(repo) == before
    assert repo.git("rev-parse", "HEAD") == head
    assert repo.git("rev-parse", "raise") == sha
    assert repo.git("rev-parse", "raise~1") == head
    assert repo.git("diff", "--name-only", head, sha).split() == ["a.yaml", "deep/er/b.yaml"]
    assert repo.git("show", "raise:deep/er/b.yaml") == "v: 2"
    assert repo.git("log", "-1", "--format=%an|%ae|%cn|%s|%b", "raise") == "Grace|grace@example.com|Grace|Raise|both"
    repo.git("fsck", "--strict")


def test_the_present_branch_moves_with_files_and_index(source: LocalSource, repo: Repo, home: Path) -> None:
    """The files are written and committed; what was staged stays staged and is not in the commit."""
    repo.write({"deep/c.txt": "mine\n"})
    repo.git("add", "-A")
    (repo.folder / "a.yaml").chmod(0o640)
    head = repo.git("rev-parse", "HEAD")
    sha = committing(source, home).commit(head, EDITS, "Raise", None)
    assert repo.git("rev-parse", "main") == sha
    assert (repo.folder / "a.yaml").read_text() == "v: 2\n"
    assert (repo.folder / "deep/er/b.yaml").read_bytes() == b"v: 2\r\n"
    assert (repo.folder / "a.yaml").stat().st_mode & 0o777 == 0o640
    assert repo.git("status", "--porcelain") == "M  deep/c.txt"
    assert repo.git("diff", "--name-only", head, sha).split() == ["a.yaml", "deep/er/b.yaml"]
    assert repo.git("reflog", "-1", "--format=%gs") == "reconciler: Raise"


def test_a_detached_head_moves_alone(source: LocalSource, repo: Repo, home: Path) -> None:
    """Without a branch HEAD itself is what moves."""
    head = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "-q", "--detach")
    sha = committing(source, home).commit(head, EDITS, "Raise", None)
    assert (repo.git("rev-parse", "HEAD"), repo.git("rev-parse", "main")) == (sha, head)


def test_other_object_formats(tmp_path: Path, opened: Opener, home: Path) -> None:
    """SHA-256 repositories are committed to alike."""
    repo = Repo(tmp_path / "new", "--object-format=sha256")
    head = repo.commit(FILES)
    sha = committing(cast("LocalSource", opened(repo.folder)), home).commit(head, EDITS, "Raise", "raise")
    assert len(sha) == 64
    assert repo.git("show", "raise:a.yaml") == "v: 2"


def test_a_bare_repository_has_no_files_to_write(repo: Repo, tmp_path: Path, opened: Opener, home: Path) -> None:
    """Its branch moves, and that is all."""
    head = repo.commit(FILES)
    bare = tmp_path / "bare.git"
    repo.git("clone", "-q", "--bare", ".", str(bare))
    sha = committing(cast("LocalSource", opened(bare)), home).commit(head, EDITS, "Raise", None)
    assert repo.git("--git-dir", str(bare), "rev-parse", "main") == sha


def test_line_ends_of_the_working_copy_stay(source: LocalSource, repo: Repo, home: Path) -> None:
    """Where Git turns line ends on checkout, the file keeps its own and the commit those of Git."""
    repo.git("config", "core.autocrlf", "true")
    (repo.folder / "a.yaml").unlink()
    repo.git("checkout", "-q", "--", "a.yaml")
    assert (repo.folder / "a.yaml").read_bytes() == b"v: 1\r\n"
    sha = committing(source, home).commit(repo.git("rev-parse", "HEAD"), {"a.yaml": raised}, "Raise", None)
    assert (repo.folder / "a.yaml").read_bytes() == b"v: 2\r\n"
    blob = subprocess.run(
        ["git", "cat-file", "blob", f"{sha}:a.yaml"], cwd=repo.folder, capture_output=True, check=True
    )
    assert blob.stdout == b"v: 2\n"


# Refusals


def test_uncommitted_files_are_refused(source: LocalSource, repo: Repo, home: Path) -> None:
    """Edited, staged or deleted: only if they are among those to be changed."""
    commits = committing(source, home)
    repo.write({"deep/c.txt": "mine\n"})
    commits.refuse_uncommitted(EDITS)
    repo.write({"a.yaml": "v: 3\n"})
    with pytest.raises(RefusedError, match=r"a\.yaml has changes that are not committed"):
        commits.refuse_uncommitted(EDITS)
    repo.git("add", "a.yaml")
    repo.write({"a.yaml": "v: 1\n"})
    with pytest.raises(RefusedError):
        commits.refuse_uncommitted(EDITS)
    repo.git("reset", "-q", "--hard")
    (repo.folder / "deep/er/b.yaml").unlink()
    with pytest.raises(RefusedError):
        commits.refuse_uncommitted(EDITS)


@pytest.mark.parametrize("name", ["a..b", "-x", "a b", "x.lock", "/x", "@{u}"])
def test_a_name_that_is_none_is_refused(source: LocalSource, home: Path, name: str) -> None:
    """Git's own rules for branches."""
    with pytest.raises(InvalidError, match="is no name for a branch"):
        committing(source, home).refuse_taken(name)


def test_a_branch_that_exists_is_refused_and_not_moved(source: LocalSource, repo: Repo, home: Path) -> None:
    """Before anything is done; and also if it came to be meanwhile."""
    repo.git("branch", "taken")
    head = repo.git("rev-parse", "HEAD")
    commits = committing(source, home)
    with pytest.raises(RefusedError, match="there is a branch 'taken' already"):
        commits.refuse_taken("taken")
    with pytest.raises(StaleError):
        commits.commit(head, EDITS, "Raise", "taken")
    assert repo.git("rev-parse", "taken") == head


def test_a_branch_that_moved_meanwhile_stops_everything(source: LocalSource, repo: Repo, home: Path) -> None:
    """Neither file nor index is touched, and no lock is left."""
    old = repo.git("rev-parse", "HEAD")
    repo.commit({"deep/c.txt": "new\n"})
    before = snapshot(repo)
    with pytest.raises(StaleError, match="HEAD moved meanwhile"):
        committing(source, home).commit(old, EDITS, "Raise", None)
    assert snapshot(repo) == before
    repo.commit({"deep/c.txt": "newer\n"})


def test_a_locked_index_leaves_all_as_it_was(source: LocalSource, repo: Repo, home: Path) -> None:
    """Files already written get their bytes back; the branch stays, unlocked."""
    (repo.folder / ".git" / "index.lock").touch()
    before, head = snapshot(repo), repo.git("rev-parse", "HEAD")
    with pytest.raises(UnavailableError, match="index cannot be written"):
        committing(source, home).commit(head, EDITS, "Raise", None)
    assert (snapshot(repo), repo.git("rev-parse", "HEAD")) == (before, head)
    (repo.folder / ".git" / "index.lock").unlink()
    repo.commit({"deep/c.txt": "new\n"})


def test_an_edit_that_fails_leaves_all_as_it_was(source: LocalSource, repo: Repo, home: Path) -> None:
    """The second of two files cannot be edited: the first is not, either."""
    before, head = snapshot(repo), repo.git("rev-parse", "HEAD")
    seen: list[bytes] = []

    def once(data: bytes) -> bytes:
        seen.append(data)
        if len(seen) > 1:
            raise InvalidError("not that one")
        return raised(data)

    with pytest.raises(InvalidError, match="not that one"):
        committing(source, home).commit(head, {"a.yaml": raised, "deep/er/b.yaml": once}, "Raise", None)
    assert (snapshot(repo), repo.git("rev-parse", "HEAD")) == (before, head)


def test_links_are_not_followed(source: LocalSource, repo: Repo, home: Path) -> None:
    """A path that is a link in the commit is no file to edit."""
    (repo.folder / "link.yaml").symlink_to("a.yaml")
    head = repo.commit()
    with pytest.raises(InvalidError, match="no regular file"):
        committing(source, home).commit(head, {"link.yaml": raised}, "Raise", None)


# In whose name


def test_the_surroundings_win_over_the_config(source: LocalSource, repo: Repo, home: Path) -> None:
    """`GIT_AUTHOR_NAME` and the like, then the repository's config, then one's own."""
    repo.git("config", "user.email", "work@example.com")
    commits = committing(source, home, GIT_AUTHOR_NAME="Alan")
    sha = commits.commit(repo.git("rev-parse", "HEAD"), EDITS, "Raise", "raise")
    assert repo.git("log", "-1", "--format=%an %ae %cn", sha) == "Alan work@example.com Grace"


@pytest.mark.parametrize(("config", "missing"), [("", "name"), ("[user]\nname = Grace\n", "email")])
def test_nobody_cannot_commit(source: LocalSource, home: Path, config: str, missing: str) -> None:
    """Without a name or an address it is said how to set one; no host name stands in."""
    (home / ".gitconfig").write_text(config)
    with pytest.raises(InvalidError, match=f"does not know the {missing}") as caught:
        committing(source, home)
    assert f"user.{missing}" in caught.value.hint


def test_commits_are_signed_where_one_signs(source: LocalSource, repo: Repo, home: Path) -> None:
    """`commit.gpgSign` with an SSH key of one's own config; the signature is good."""
    key = home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (home / ".gitconfig").write_text(
        "[user]\nname = Grace\nemail = grace@example.com\nsigningkey = ~/key\n[gpg]\nformat = ssh\n[commit]\ngpgsign\n"
    )
    signers = home / "signers"
    signers.write_text(f"grace@example.com {(home / 'key.pub').read_text()}")
    sha = committing(source, home).commit(repo.git("rev-parse", "HEAD"), EDITS, "Raise", "raise")
    repo.git("-c", f"gpg.ssh.allowedSignersFile={signers}", "-c", "gpg.format=ssh", "verify-commit", sha)


def test_a_signature_that_cannot_be_made_stops_it(source: LocalSource, repo: Repo, home: Path) -> None:
    """The message says so and how to go on; no branch is made."""
    with (home / ".gitconfig").open("a") as config:
        config.write("signingkey = ~/nothing\n[gpg]\nformat = ssh\n[commit]\ngpgsign = true\n")
    with pytest.raises(InvalidError, match=r"cannot be signed, as commit\.gpgSign asks"):
        committing(source, home).commit(repo.git("rev-parse", "HEAD"), EDITS, "Raise", "raise")
    assert repo.git("branch", "--list", "raise") == ""


def test_nothing_that_the_repository_names_is_run(source: LocalSource, repo: Repo, home: Path, tmp_path: Path) -> None:
    """Hooks, and programs of the repository's own config, stay unused."""
    marker, script = tmp_path / "ran", tmp_path / "script"
    script.write_text(f"#!/bin/sh\nps -o args= -p $PPID >> {marker}\nexit 1\n")
    script.chmod(0o755)
    for hook in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "pre-push", "post-index-change"):
        (repo.folder / ".git" / "hooks" / hook).symlink_to(script)
    for key in ("gpg.program", "gpg.ssh.program", "gpg.ssh.defaultKeyCommand", "core.fsmonitor", "filter.x.clean"):
        repo.git("config", key, str(script))
    (repo.folder / ".git" / "info" / "attributes").write_text("* filter=x\n")
    head = repo.git("rev-parse", "HEAD")
    committing(source, home).commit(head, EDITS, "Raise", None)
    for form in ("ssh", "openpgp"):
        repo.git("config", "commit.gpgsign", "true")
        repo.git("config", "gpg.format", form)
        with pytest.raises(InvalidError):
            committing(source, home).commit(repo.git("rev-parse", "HEAD"), {"a.yaml": raised}, "Again", None)
    assert not marker.exists()


# Pushing


def test_a_branch_is_pushed(source: LocalSource, repo: Repo, home: Path, tmp_path: Path) -> None:
    """Under its own name; a remote that has another one of it refuses, and is told."""
    bare = tmp_path / "remote.git"
    repo.git("init", "-q", "--bare", str(bare))
    repo.git("remote", "add", "origin", f"file://{bare}")
    commits, head = committing(source, home), repo.git("rev-parse", "HEAD")
    sha = commits.commit(head, EDITS, "Raise", "raise")
    commits.push("raise", "origin")
    assert repo.git("--git-dir", str(bare), "rev-parse", "raise") == sha
    repo.git("checkout", "-q", "--orphan", "other")
    repo.commit({"x": "y"})
    repo.git("branch", "-f", "raise", "other")
    with pytest.raises(AccessError, match="was not pushed to origin") as caught:
        commits.push("raise", "origin")
    assert caught.value.hint == "git push origin raise"


def test_a_remote_that_is_not_there(source: LocalSource, repo: Repo, home: Path) -> None:
    """Said as what it is."""
    commits = committing(source, home)
    commits.commit(repo.git("rev-parse", "HEAD"), EDITS, "Raise", "raise")
    with pytest.raises(UnavailableError, match="was not pushed to nowhere"):
        commits.push("raise", "nowhere")


def test_reading_a_repo_still_sees_no_config_of_a_person(source: LocalSource, home: Path) -> None:
    """Only what was asked for in a person's name looks there."""
    assert "Grace" not in source.git.run("config", "--list").output.decode()
    assert source.git.environment()["HOME"] == os.devnull
