"""A repository on this machine: a working copy, a worktree of one, or a bare repo."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event

from reconciler.core.contents import Revision
from reconciler.core.dataclass import dataclass, replace
from reconciler.core.errors import AccessError, InvalidError, UnavailableError
from reconciler.source.command import Git, last_line, mask
from reconciler.source.database import Database
from reconciler.source.lfs import LargeFiles
from reconciler.source.objects import Algorithm, Commit, object_id, parse_commit
from reconciler.source.settings import SourceSettings, parse_path, parse_ref
from reconciler.source.tree import GitContents, GitTree
from reconciler.source.verify import verify_commit
from reconciler.source.working import Looking, StatCache, WorkingObjects, overlay

# What HEAD holds where refs are not kept in files (gitrepository-layout(5), "reftable").
_ELSEWHERE = "ref: refs/heads/.invalid"


class NoCommitError(InvalidError):
    """What is checked out has no commit yet."""


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository's parts lie.

    Args:
        git_folder: Of this working copy: holds HEAD and the index.
        common_folder: Holds objects and refs; another one in worktrees.
        work_folder: The files; None for a bare repo.
        prefix: The folder that was named, relative to `work_folder`.
    """

    git_folder: Path
    common_folder: Path
    work_folder: Path | None
    prefix: str
    algorithm: Algorithm

    @property
    def empty_tree(self) -> str:
        """The id of a folder without files, which Git knows by itself."""
        return object_id("tree", b"", self.algorithm)


def discover(folder: Path, *, trusted: bool = False, timeout: float = 60.0) -> Repository:
    """Finds the repository that a folder is, or is in.

    Raises:
        InvalidError: There is none, or it is damaged.
        AccessError: It belongs to another user, or cannot be read.
    """
    if not folder.exists():
        raise InvalidError(f"{folder} does not exist", hint="give the folder of a Git repository, or its URL")
    if not folder.is_dir():
        raise InvalidError(f"{folder} is a file, not a Git repository")
    git = Git(folder, trusted=trusted)
    told = git.run(
        "rev-parse",
        "--path-format=absolute",
        "--show-object-format",
        "--is-bare-repository",
        "--is-inside-work-tree",
        "--absolute-git-dir",
        "--git-common-dir",
        # The last two end with an error where there is no work tree, after all else was told.
        "--show-prefix",
        "--show-toplevel",
        timeout=timeout,
    )
    lines = told.output.decode("utf-8", "surrogateescape").splitlines()
    if len(lines) < 5:
        raise _not_usable(folder, told.error)
    algorithm, bare, inside, git_folder, common, *rest = lines
    work, prefix = None, ""
    if inside == "true" and len(rest) > 1:
        work, prefix = Path(rest[1]), rest[0].rstrip("/")
    elif bare != "true":
        raise InvalidError(f"{folder} is inside a .git folder", hint="give the folder above it")
    return Repository(Path(git_folder), Path(common), work, prefix, "sha256" if algorithm == "sha256" else "sha1")


def _not_usable(folder: Path, error: str) -> InvalidError | AccessError:
    if "dubious ownership" in error:
        return AccessError(
            f"{folder} belongs to another user, whose settings Git would follow",
            hint="change its owner, or let the operator's settings trust the repository",
        )
    if "not a git repository" in error:
        return InvalidError(
            f"{folder} is not a Git repository, and neither is any folder above it",
            hint=f"git -C {folder} init, or reconciler init {folder}",
        )
    if "ermission denied" in error:
        return AccessError(f"{folder} cannot be read: {last_line(error)}")
    return InvalidError(f"{folder} is not a usable Git repository: {last_line(error)}", hint="run git fsck there")


class LocalSource:
    """Reads a repository on this machine; nothing in it is written.

    Args:
        settings: What to read.
        folder: The folder that `settings.location` names.
    """

    def __init__(self, settings: SourceSettings, folder: Path) -> None:
        self.settings = settings
        self.repository = discover(folder, trusted=settings.trusted, timeout=settings.timeout)
        if settings.dirty and self.repository.work_folder is None:
            raise InvalidError(f"{folder} is a bare repository: it has no uncommitted files to read")
        if settings.dirty and settings.ref not in ("", "HEAD"):
            raise InvalidError(f"uncommitted files belong to HEAD, not to {settings.ref!r}", hint="leave the ref out")
        where = self.repository.work_folder or self.repository.git_folder
        self._git = Git(where, bare=self.repository.work_folder is None, trusted=settings.trusted)
        self._database = Database(self._git, self.repository.algorithm)
        self._large = LargeFiles(self._git, self.repository.common_folder, timeout=settings.fetch_timeout)
        self._contents = GitContents(self._database, settings.limits, large=self._large)
        self._stats = StatCache()
        self._path = parse_path(posixpath.join(self.repository.prefix, parse_path(settings.path)))

    @property
    def git(self) -> Git:
        """Git in the repository."""
        return self._git

    @property
    def database(self) -> Database:
        """Its objects."""
        return self._database

    @property
    def location(self) -> str:
        """For messages."""
        return str(self.repository.work_folder or self.repository.git_folder)

    @property
    def origin(self) -> str:
        """What is the same for every clone: the address of its `origin`, else the folder; holds no credentials."""
        told = self._git.run("config", "--local", "--get", "remote.origin.url", timeout=self.settings.timeout)
        address = told.output.decode("utf-8", "replace").strip() if told.code == 0 else ""
        return mask(address).removesuffix("/").removesuffix(".git") or self.location

    @property
    def path(self) -> str:
        """The manifest folder, relative to the repository's root."""
        return self._path

    def peek(self, ref: str | None = None) -> str:
        """The commit a ref names now.

        Raises:
            InvalidError: There is no such ref, or no commit yet.
        """
        return self._commit(ref)[0]

    def fetch(self, ref: str | None = None) -> Revision:
        """The revision a ref names now; its signature is verified if the settings ask for it.

        Raises:
            InvalidError: There is no such ref, no commit yet, or no acceptable signature.
        """
        sha, commit = self._commit(ref)
        if self.settings.verify is not None:
            verify_commit(self._git, sha, self.settings.verify, timeout=self.settings.timeout)
        return Revision(sha, self._shown(ref), commit.subject, commit.committed_at)

    def tree(self, revision: Revision | None = None) -> GitTree:
        """The files of a revision; without one, those the settings ask for: the ref's, or the uncommitted ones.

        Raises:
            InvalidError: There is no such commit, or no manifest folder in it.
        """
        if revision is None:
            revision = self.fetch()
            if self.settings.dirty:
                return self.working_tree(revision)
        root = parse_commit(self._database.read(revision.sha, "commit")).tree
        return self._checked(GitTree(revision, root, self._contents, self._path, self.settings.limits))

    def working_tree(self, head: Revision | None = None) -> GitTree:
        """The working copy as it lies there; its revision is `dirty` if that differs from HEAD.

        Raises:
            InvalidError: A file cannot be read, or the repository is bare.
        """
        work = self.repository.work_folder
        if work is None:
            raise InvalidError(f"{self.location} is a bare repository: it has no files to read")
        # Git compares the files while we read the commit.
        with Looking(self._git, self._may_filter(), timeout=self.settings.timeout) as looking:
            head, committed = self._last(head)
            over = overlay(looking, self._database, committed, self._stats)
        if over.root == committed and head.sha.strip("0"):
            return self._checked(GitTree(head, committed, self._contents, self._path, self.settings.limits))
        contents = GitContents(
            WorkingObjects(work, self._database, over),
            self.settings.limits,
            large=self._large,
        )
        revision = replace(head, dirty=True)
        return self._checked(GitTree(revision, over.root, contents, self._path, self.settings.limits))

    def uncommitted(self) -> tuple[str, ...]:
        """Paths that differ from HEAD, sorted; empty for a bare repo."""
        if self.repository.work_folder is None:
            return ()
        with Looking(self._git, self._may_filter(), timeout=self.settings.timeout) as looking:
            _, committed = self._last(None)
            return overlay(looking, self._database, committed, self._stats).changed

    def watch(self, stop: Event) -> Iterator[str]:
        """Yields a few words when a ref moved or, if the settings read uncommitted files, when a file changed.

        Raises:
            UnavailableError: The system watches no more files; poll `peek` instead.
        """
        # Imported late: plans do not watch.
        from reconciler.source.watch import Watch

        work = self.repository.work_folder if self.settings.dirty else None
        return Watch(self.repository.git_folder, self.repository.common_folder, work).events(stop)

    def close(self) -> None:
        """Ends the git processes."""
        self._database.close()

    def _checked(self, tree: GitTree) -> GitTree:
        if self._path and not tree.is_folder(""):
            raise missing_path(tree, self._path, self.settings.path)
        return tree

    def _shown(self, ref: str | None) -> str:
        name = (self.settings.ref if ref is None else ref) or "HEAD"
        if name != "HEAD":
            return "" if _is_hex(name) else name.removeprefix("refs/heads/").removeprefix("refs/tags/")
        try:
            head = (self.repository.git_folder / "HEAD").read_text("utf-8", "replace").strip()
        except OSError:
            head = ""
        if not head.startswith("ref: refs/heads/") or head == _ELSEWHERE:
            told = self._git.run("symbolic-ref", "--quiet", "HEAD")
            head = f"ref: {told.output.decode('utf-8', 'replace').strip()}" if told.code == 0 else ""
        return head.removeprefix("ref: ").removeprefix("refs/heads/")

    def _commit(self, ref: str | None) -> tuple[str, Commit]:
        """The commit a ref names now.

        Raises:
            InvalidError: There is no such ref, or no commit yet.
        """
        name = parse_ref(self.settings.ref if ref is None else ref, ancestors=True) or "HEAD"
        found = self._database.commit(name)
        if found is None:
            raise self._unknown(name)
        return found

    def _last(self, head: Revision | None) -> tuple[Revision, str]:
        """The last commit, by default that of HEAD, and its files: before the first one, no files at all."""
        try:
            head = head or self.fetch("HEAD")
        except NoCommitError:
            digits = len(self.repository.empty_tree)
            return Revision("0" * digits, self._shown("HEAD"), "no commit yet"), self.repository.empty_tree
        return head, parse_commit(self._database.read(head.sha, "commit")).tree

    def _may_filter(self) -> bool:
        """Whether the repository's own config may name commands to run over files (gitattributes(5), "filter")."""
        for file in (self.repository.common_folder / "config", self.repository.git_folder / "config.worktree"):
            try:
                text = file.read_bytes().lower()
            except FileNotFoundError:
                continue
            except OSError:
                return True
            if b"filter" in text or b"include" in text:
                return True
        return False

    def _unknown(self, name: str) -> InvalidError | UnavailableError:
        told = self._git.run("for-each-ref", "--format=%(refname)")
        if told.code != 0:
            return UnavailableError(f"git cannot read the refs of {self.location}: {last_line(told.error)}")
        refs = told.output.decode("utf-8", "replace").split()
        if name == "HEAD" and not refs:
            return NoCommitError(f"{self.location} has no commits yet", hint="commit the manifests first")
        named = self._git.run("symbolic-ref", "--quiet", name) if name == "HEAD" else None
        full = named.output.decode("utf-8", "replace").strip() if named and named.code == 0 else name
        if any(ref in (full, f"refs/heads/{full}", f"refs/tags/{full}") for ref in refs):
            return InvalidError(
                f"{self.location} is damaged: {full.removeprefix('refs/heads/')} names a commit that is not there",
                hint="run git fsck there, and clone it anew if that finds objects missing",
            )
        return unknown_ref(name, refs, self.location)


def _is_hex(text: str) -> bool:
    return len(text) >= 7 and not text.strip("0123456789abcdef")


def unknown_ref(name: str, refs: Iterable[str], location: str) -> InvalidError:
    """The error for a ref that is not there, with those that are like it."""
    short = sorted(
        {ref.split("/", 2)[-1] for ref in refs if ref.startswith(("refs/heads/", "refs/tags/", "refs/remotes/"))}
    )
    if name == "HEAD":
        return NoCommitError(
            f"HEAD of {location} names a branch without commits",
            hint=f"name one of {', '.join(short[:8])}" if short else "commit the manifests first",
        )
    if not short:
        return InvalidError(f"{location} has no ref {name!r}: it has no commits yet", hint="commit the manifests first")
    near = _near(name, short)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(short[:8])}"
    kind = "commit" if _is_hex(name) else "branch, tag or commit"
    return InvalidError(f"{location} has no {kind} {name!r}", hint=hint)


def missing_path(tree: GitTree, path: str, given: str) -> InvalidError:
    """The error for a manifest folder that is not in the revision."""
    root = tree.at_root()
    parent, _, name = path.rpartition("/")
    near = _near(name, root.names(parent))
    hint = f"did you mean {' or '.join(repr(posixpath.join(parent, each)) for each in near)}?" if near else ""
    return InvalidError(f"there is no folder {(given or path)!r} in {tree.revision.short}", hint=hint)


def _near(name: str, known: list[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, known, n=3, cutoff=0.5)
