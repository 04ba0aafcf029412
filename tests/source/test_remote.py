"""Reading remotes through a mirror: over file URLs and over HTTP."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.errors import AccessError, InvalidError, UnavailableError
from reconciler.source import Credentials

from .conftest import ENVIRONMENT, Opener, Repo
from .served import served


def url(repo: Repo) -> str:
    """The repo as a remote."""
    return f"file://{repo.folder}"


def test_fetches_one_commit_of_a_branch(repo: Repo, opened: Opener) -> None:
    """Only the newest commit comes, and only of the ref asked for; the tree reads as in the original."""
    old = repo.commit({"a.yaml": "1"})
    sha = repo.commit({"a.yaml": "2"}, "Second")
    repo.git("branch", "other", old)
    source = opened(url(repo), ref="main")
    tree = source.tree()
    assert (tree.revision.sha, tree.revision.ref, tree.revision.subject) == (sha, "main", "Second")
    assert tree.read("a.yaml", 9) == b"2"
    (mirror,) = opened.cache.glob("*.git")
    held = subprocess.check_output(["git", "rev-list", "--all"], cwd=mirror, env=ENVIRONMENT, text=True).split()
    assert held == [sha]


def test_default_ref_is_the_remotes_head(repo: Repo, opened: Opener) -> None:
    """Without a ref the remote's HEAD counts, and the branch it names is shown."""
    sha = repo.commit({"a.yaml": "1"})
    revision = opened(url(repo)).fetch()
    assert (revision.sha, revision.ref) == (sha, "main")


def test_tags_commits_and_branches_of_one_name(repo: Repo, opened: Opener) -> None:
    """Annotated tags are peeled, a commit is fetched by its id, a branch wins over a tag of its name."""
    first = repo.commit({"a.yaml": "1"})
    repo.git("tag", "-a", "-m", "x", "v1")
    repo.git("tag", "both")
    second = repo.commit({"a.yaml": "2"})
    repo.git("branch", "both")
    assert opened(url(repo), ref="v1").fetch().sha == first
    assert opened(url(repo), ref="both").fetch().sha == second
    assert opened(url(repo), ref=first).tree().read("a.yaml", 9) == b"1"


def test_a_name_is_not_matched_by_its_tail(repo: Repo, opened: Opener) -> None:
    """A branch `feature/main` is not `main`."""
    sha = repo.commit({"a.yaml": "1"})
    repo.git("branch", "feature/x")
    assert opened(url(repo), ref="feature/x").peek() == sha
    with pytest.raises(InvalidError, match="'x'"):
        opened(url(repo), ref="x").peek()


def test_a_new_commit_is_peeked_then_fetched(repo: Repo, opened: Opener) -> None:
    """`peek` sees a new commit without fetching it; the revision before stays readable."""
    first = repo.commit({"a.yaml": "1"})
    source = opened(url(repo), ref="main")
    old = source.fetch()
    second = repo.commit({"a.yaml": "2"})
    assert source.peek() == second
    new = source.fetch()
    assert (old.sha, new.sha) == (first, second)
    assert [source.tree(each).read("a.yaml", 9) for each in (old, new)] == [b"1", b"2"]


def test_a_rewritten_branch_is_followed(repo: Repo, opened: Opener) -> None:
    """A force push needs no history in common."""
    repo.commit({"a.yaml": "1"})
    source = opened(url(repo), ref="main")
    source.fetch()
    repo.git("checkout", "-q", "--orphan", "new")
    sha = repo.commit({"a.yaml": "3"})
    repo.git("branch", "-M", "new", "main")
    assert source.tree().revision.sha == sha


def test_when_the_remote_is_gone_the_last_revision_stays(repo: Repo, opened: Opener, tmp_path: Path) -> None:
    """Fetching fails with a clear error, what was fetched is still read, also by a new process."""
    repo.commit({"a.yaml": "1"})
    source = opened(url(repo), ref="main")
    good = source.fetch()
    shutil.move(repo.folder, tmp_path / "moved")
    with pytest.raises(UnavailableError, match="did not answer"):
        source.fetch()
    assert source.tree(good).read("a.yaml", 9) == b"1"
    assert opened(url(repo), ref="main").tree(good).read("a.yaml", 9) == b"1"


def test_unknown_ref_at_a_remote(repo: Repo, opened: Opener) -> None:
    """A typo gets a did-you-mean over the remote's refs; an empty remote says that it is empty."""
    with pytest.raises(InvalidError, match=r"without commits|no commits"):
        opened(url(repo)).fetch()
    repo.commit({"a.yaml": "1"})
    with pytest.raises(InvalidError, match="'mian'") as caught:
        opened(url(repo), ref="mian").fetch()
    assert "'main'" in caught.value.hint


def test_a_commit_that_no_ref_reaches_at_its_tip(repo: Repo, opened: Opener) -> None:
    """A commit that is not there is an error, not an endless fetch."""
    repo.commit({"a.yaml": "1"})
    with pytest.raises((InvalidError, UnavailableError), match="ffffffffffff"):
        opened(url(repo), ref="f" * 40).fetch()


def test_old_revisions_are_let_go(repo: Repo, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many revisions are held by refs; the mirror does not grow for ever."""
    monkeypatch.setattr("reconciler.source.remote.KEPT_REVISIONS", 2)
    source = opened(url(repo), ref="main")
    shas = []
    for number in range(4):
        shas.append(repo.commit({"a.yaml": str(number)}))
        source.fetch()
    (mirror,) = opened.cache.glob("*.git")
    kept = subprocess.check_output(["git", "for-each-ref", "--format=%(refname:lstrip=2)"], cwd=mirror, env=ENVIRONMENT)
    assert set(kept.decode().split()) == set(shas[-2:])


def test_fetching_runs_no_hook(repo: Repo, opened: Opener, tmp_path: Path) -> None:
    """Neither hooks in the mirror nor settings of the user have a say."""
    repo.commit({"a.yaml": "1"})
    source = opened(url(repo), ref="main")
    source.fetch()
    (mirror,) = opened.cache.glob("*.git")
    (mirror / "hooks").mkdir()
    for name in ("reference-transaction", "post-fetch", "pre-auto-gc"):
        (mirror / "hooks" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/proof\n")
        (mirror / "hooks" / name).chmod(0o755)
    repo.commit({"a.yaml": "2"})
    source.fetch()
    assert not (tmp_path / "proof").exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """`host:port` of a Git server that asks for ada's password."""
    with served(tmp_path, "ada:s3cr3t") as address:
        yield address


def test_http_with_credentials(repo: Repo, opened: Opener, server: str) -> None:
    """Credentials work from the URL and from the settings."""
    sha = repo.commit({"a.yaml": "1"})
    assert opened(f"http://ada:s3cr3t@{server}/repo/.git", ref="main").tree().revision.sha == sha
    plain = opened(f"http://{server}/repo/.git", ref="main", credentials=Credentials("ada", "s3cr3t"))
    assert plain.fetch().sha == sha


@pytest.mark.parametrize("user", ["", "ada:wr0ng@"])
def test_http_with_wrong_credentials(repo: Repo, opened: Opener, server: str, user: str) -> None:
    """Missing or wrong credentials are an access error that names neither."""
    repo.commit({"a.yaml": "1"})
    source = opened(f"http://{user}{server}/repo/.git", ref="main")
    with pytest.raises(AccessError, match="refused") as caught:
        source.fetch()
    assert "wr0ng" not in f"{caught.value}{caught.value.hint}{source.location}{source.settings.credentials}"


def test_credentials_are_on_no_command_line(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What git is called with holds no password, nor does anything else of our environment reach it."""
    spy = tmp_path / "bin/git"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/argv\nenv > {tmp_path}/env\nexit 1\n')
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{spy.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DATABASE_PASSWORD", "t0ps3cret")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_SSH_COMMAND", "evil")
    with pytest.raises(UnavailableError):
        opened("https://ada:s3cr3t@example.invalid/x.git").fetch()
    assert "s3cr3t" not in (tmp_path / "argv").read_text()
    seen = (tmp_path / "env").read_text()
    assert "t0ps3cret" not in seen
    assert "/nowhere" not in seen
    assert "evil" not in seen


def test_a_remote_that_does_not_answer_times_out(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operation ends after its time-out, with all the processes it started."""
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/pid; wait\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UnavailableError, match="did not end within"):
        opened("https://example.invalid/x.git", timeout=0.5).fetch()
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    deadline = time.monotonic() + 10
    while status.exists() and status.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
