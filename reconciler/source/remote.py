"""A remote repository, through one bare mirror per URL that holds only what was asked for."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from reconciler.core.contents import Revision
from reconciler.core.errors import AccessError, InvalidError, ReconcilerError, UnavailableError
from reconciler.source.command import Git, Result, last_line, mask
from reconciler.source.database import Database
from reconciler.source.lfs import LargeFiles
from reconciler.source.local import missing_path, unknown_ref
from reconciler.source.objects import Algorithm, parse_commit
from reconciler.source.settings import Address, SourceSettings, parse_path, parse_ref
from reconciler.source.tree import GitContents, GitTree
from reconciler.source.verify import verify_commit

# Revisions that stay readable in the mirror: enough to finish applying old ones and to compare with them.
KEPT_REVISIONS = 30
# Fetches bring one pack each; more than these are put together.
_PACKS = 40
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

_DENIED = (
    "authentication failed", "permission denied", "could not read username", "could not read password",
    "terminal prompts disabled", "access denied", "invalid username", "host key verification failed",
    "returned error: 401", "returned error: 403",
)  # fmt: skip
_ABSENT = ("repository not found", "does not appear to be a git repository", "returned error: 404", "not found")


class RemoteSource:
    """Reads a repository by URL.

    Args:
        settings: What to read.
        address: The URL that `settings.location` holds.
        cache_dir: Where mirrors lie.
        clock: Seconds; for waiting for another process that uses the mirror.
    """

    def __init__(
        self,
        settings: SourceSettings,
        address: Address,
        cache_dir: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if settings.dirty:
            raise InvalidError(f"{address.url} is a remote: it has no uncommitted files to read")
        self.settings = settings
        self._address = address
        self._clock = clock
        self._sleep = sleep
        self._path = parse_path(settings.path)
        self._folder = cache_dir / f"{hashlib.sha256(address.url.encode()).hexdigest()[:20]}.git"
        self._config = _login(address, settings)
        self._database: Database | None = None
        self._contents: GitContents | None = None

    @property
    def location(self) -> str:
        """For messages; holds no credentials."""
        return mask(self._address.url)

    @property
    def origin(self) -> str:
        """What is the same for every clone: the address; holds no credentials."""
        return self.location.removesuffix("/").removesuffix(".git")

    @property
    def path(self) -> str:
        """The manifest folder, relative to the repository's root."""
        return self._path

    def peek(self, ref: str | None = None) -> str:
        """The commit a ref names at the remote now; asks for nothing but refs.

        Raises:
            InvalidError: There is no such ref. UnavailableError, AccessError: The remote does not answer that.
        """
        name = parse_ref(self.settings.ref if ref is None else ref) or "HEAD"
        if _SHA.fullmatch(name):
            return name
        return self._pick(name)[1]

    def fetch(self, ref: str | None = None) -> Revision:
        """Brings the newest commit of a ref into the mirror, one commit deep, and verifies it if asked.

        Raises:
            InvalidError: There is no such ref, or no acceptable signature.
            UnavailableError, AccessError: The remote does not answer; what was fetched before stays readable.
        """
        name = parse_ref(self.settings.ref if ref is None else ref) or "HEAD"
        full, sha = ("", name) if _SHA.fullmatch(name) else self._pick(name)
        with self._locked():
            database = self._open(sha)
            if database.kind(sha) != "commit" or not self._kept(sha):
                self._bring(full, sha)
            if database.kind(sha) != "commit":
                raise InvalidError(f"{name!r} at {self.location} is not a commit")
            git = database.git
            if self.settings.verify is not None:
                verify_commit(git, sha, self.settings.verify, timeout=self.settings.timeout)
            self._keep(git, sha)
        commit = parse_commit(database.read(sha, "commit"))
        shown = full.removeprefix("refs/heads/").removeprefix("refs/tags/")
        return Revision(sha, shown, commit.subject, commit.committed_at)

    def tree(self, revision: Revision | None = None) -> GitTree:
        """The files of a revision that was fetched; None fetches what the settings name.

        Raises:
            InvalidError: It was not fetched, or has no such manifest folder.
        """
        revision = revision or self.fetch()
        database = self._open(revision.sha)
        assert self._contents is not None
        root = parse_commit(database.read(revision.sha, "commit")).tree
        tree = GitTree(revision, root, self._contents, self._path, self.settings.limits)
        if self._path and not tree.is_folder(""):
            raise missing_path(tree, self._path, self.settings.path)
        return tree

    def close(self) -> None:
        """Ends the git processes."""
        if self._database is not None:
            self._database.close()

    def _pick(self, name: str) -> tuple[str, str]:
        """The full name of a ref and its commit: gitrevisions(7) order, tags peeled."""
        told = self._ask(name)
        full = _best(name, told)
        if full is None:
            raise unknown_ref(name, self._ask(None), self.location)
        shown = told.get("symref", "") if full == "HEAD" else full
        return shown or full, told.get(f"{full}^{{}}", told[full])

    def _ask(self, name: str | None) -> dict[str, str]:
        wanted = ["--", self._address.url]
        if name is not None:
            # ls-remote patterns match whole trailing parts; the names are compared exactly afterwards.
            wanted += [name, f"{name}^{{}}"]
        told = self._outside().run("ls-remote", "--symref", *wanted, timeout=self.settings.timeout)
        if told.code != 0:
            raise self._failed("asked for its refs", told)
        refs: dict[str, str] = {}
        for line in told.output.decode("utf-8", "replace").splitlines():
            left, _, right = line.partition("\t")
            if left.startswith("ref: "):
                refs["symref"] = left[5:] if right == "HEAD" else refs.get("symref", "")
            else:
                refs[right] = left
        return refs

    def _bring(self, full: str, sha: str) -> None:
        git = Git(self._folder, bare=True, config=self._config)
        into = f"+{sha}:refs/fetched/{sha}"
        common = ["--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--quiet", "--", self._address.url]
        told = git.run("fetch", "--depth=1", *common, into, timeout=self.settings.fetch_timeout)
        if told.code != 0 and full:
            # Servers may refuse to give what no ref names by its id (uploadpack.allowAnySHA1InWant): ask by name.
            told = git.run(
                "fetch", "--depth=1", *common, f"+{full}:refs/fetched/{sha}", timeout=self.settings.fetch_timeout
            )
        elif told.code != 0 and _refused_by_id(told.error):
            told = git.run("fetch", *common, "+refs/heads/*:refs/fetched/heads/*", "+refs/tags/*:refs/fetched/tags/*",
                           timeout=self.settings.fetch_timeout)  # fmt: skip
        if told.code != 0:
            raise self._failed(f"asked for {full or sha[:12]}", told)

    def _keep(self, git: Git, sha: str) -> None:
        """Holds the newest revisions by a ref each, so that collecting garbage leaves them."""
        git.run("update-ref", f"refs/kept/{sha}", sha)
        (self._folder / "fetched").mkdir(exist_ok=True)
        (self._folder / "fetched" / sha).touch()
        stamps = sorted((self._folder / "fetched").iterdir(), key=lambda each: each.stat().st_mtime_ns)
        for old in stamps[:-KEPT_REVISIONS]:
            git.run("update-ref", "-d", f"refs/kept/{old.name}")
            git.run("update-ref", "-d", f"refs/fetched/{old.name}")
            old.unlink()
        if sum(1 for _ in (self._folder / "objects/pack").glob("*.pack")) > _PACKS:
            git.run("gc", "--quiet", "--prune=1.day.ago", timeout=self.settings.fetch_timeout)

    def _kept(self, sha: str) -> bool:
        return (self._folder / "fetched" / sha).exists()

    def _open(self, sha: str) -> Database:
        if self._database is None:
            algorithm: Algorithm = "sha256" if len(sha) == 64 else "sha1"
            if not (self._folder / "HEAD").exists():
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                made = Git(self._folder).run(
                    "init", "--bare", "--quiet", f"--object-format={algorithm}", "--template=", "."
                )
                if made.code != 0:
                    raise UnavailableError(f"no mirror can be made in {self._folder}: {last_line(made.error)}")
            self._database = Database(Git(self._folder, bare=True), algorithm)
            outside = Git(self._folder, bare=True, config=self._config)
            large = LargeFiles(outside, self._folder, self._address.url, self.settings.fetch_timeout)
            self._contents = GitContents(self._database, self.settings.limits, large=large)
        return self._database

    def _outside(self) -> Git:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        return Git(self._folder.parent, config=self._config)

    @contextmanager
    def _locked(self) -> Generator[None]:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with self._folder.with_suffix(".lock").open("a") as handle:
            until = self._clock() + self.settings.fetch_timeout
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if self._clock() > until:
                        raise UnavailableError(f"another process holds the mirror of {self.location}") from error
                    self._sleep(0.05)
            yield

    def _failed(self, what: str, told: Result) -> ReconcilerError:
        text = told.error.lower()
        reason = last_line(told.error)
        if any(word in text for word in _DENIED):
            return AccessError(
                f"{self.location} refused when {what}: {reason}",
                hint="check the credentials in the operator's settings, or the ssh key and known_hosts",
            )
        hint = "check the URL" if any(word in text for word in _ABSENT) else "the last good revision stays in use"
        return UnavailableError(f"{self.location} did not answer when {what}: {reason}", hint=hint)


def _login(address: Address, settings: SourceSettings) -> dict[str, str]:
    """Credentials as a header for this origin only: in the environment, where no process list shows them."""
    given = settings.credentials or address.credentials
    if given is None or not address.origin or not (given.username or given.password):
        return {}
    token = base64.b64encode(f"{given.username or 'git'}:{given.password}".encode()).decode()
    return {f"http.{address.origin}.extraHeader": f"Authorization: Basic {token}"}


def _best(name: str, refs: dict[str, str]) -> str | None:
    # The order of gitrevisions(7), branches before tags as `git clone --branch` has it.
    for full in (name, f"refs/{name}", f"refs/heads/{name}", f"refs/tags/{name}"):
        if full in refs and (full == "HEAD" or full.startswith("refs/")):
            return full
    return None


def _refused_by_id(error: str) -> bool:
    return "not our ref" in error or "unadvertised object" in error or "couldn't find remote ref" in error
