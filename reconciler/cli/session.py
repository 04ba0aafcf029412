"""What the common options mean: settings, places, and the manifest repo, each opened when it is first needed."""

from __future__ import annotations

import gc
from argparse import Namespace
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli.places import state_dir, surrounding_repo
from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.errors import InvalidError, ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.core.contents import Tree
    from reconciler.settings import Settings
    from reconciler.source import Source


@dataclass
class Session:
    """One command's surroundings.

    Args:
        arguments: With the common options that the command has.
    """

    arguments: Namespace
    _source: Source | None = field(default=None, init=False)
    _pinned: tuple[str, str, str] | None = field(default=None, init=False)
    _installation: wiring.Installation | None = field(default=None, init=False)

    @cached_property
    def settings(self) -> Settings | None:
        """The operator's settings; None means that nothing differs from the defaults."""
        return wiring.load_settings(self.arguments.settings)

    @cached_property
    def places(self) -> wiring.Places:
        """Where state lies."""
        given = self.arguments.state_dir
        configured = self.settings.state_dir if self.settings and not given else None
        folder = state_dir(given or configured)
        if folder.exists() and not folder.is_dir():
            raise InvalidError(
                f"the state directory {folder} is not a folder",
                hint="name another one with --state-dir or RECONCILER_STATE_DIR",
            )
        return wiring.Places(folder)

    @property
    def repo(self) -> str:
        """The manifest repo: as given, as configured, or the one around the current folder."""
        given: str | None = getattr(self.arguments, "repo", None)
        if given is not None:
            return given
        configured = self.settings.repo.url if self.settings else ""
        return configured or str(surrounding_repo(Path.cwd()))

    @property
    def ref(self) -> str:
        """The ref: as given, or as configured for the configured repo."""
        given: str | None = getattr(self.arguments, "ref", None)
        if given is not None:
            return given
        return self.settings.repo.ref if self.settings and getattr(self.arguments, "repo", None) is None else ""

    @property
    def path(self) -> str:
        """The manifest folder in the repo."""
        given: str | None = getattr(self.arguments, "path", None)
        if given is not None:
            return given
        return self.settings.repo.path if self.settings and getattr(self.arguments, "repo", None) is None else ""

    @property
    def environment(self) -> str:
        """Whose overlay is laid over the documents: as given, or as configured; empty for none."""
        if self._pinned is not None:
            return self._pinned[2]
        given: str | None = getattr(self.arguments, "env", None)
        if given is not None:
            return given
        return self.settings.environment if self.settings else ""

    @property
    def source(self) -> Source:
        """The manifest repo, opened."""
        if self._source is None:
            wanted = wiring.source_settings(self.repo, self.ref, self.path, self.settings)
            self._source = wiring.open_repo(wanted, self.places)
        return self._source

    @property
    def folder(self) -> str:
        """The manifest folder, from the root of its Git repo; empty while that is not open, and for the root itself."""
        return self._source.path if self._source is not None else ""

    @property
    def working_copy(self) -> bool:
        """The files are read as they lie there: a local repo with files, and no ref was named."""
        from reconciler.source.local import LocalSource

        source = self.source
        return not self.ref and isinstance(source, LocalSource) and source.repository.work_folder is not None

    def tree(self) -> Tree:
        """The files to work on: of the ref, or of the working copy with what is uncommitted."""
        from reconciler.source.local import LocalSource

        source = self.source
        if self._pinned is not None:
            sha, ref, _ = self._pinned
            return source.tree(replace(source.fetch(sha), ref=ref))
        if isinstance(source, LocalSource) and self.working_copy:
            return source.working_tree()
        return source.tree()

    def pin(self, sha: str, ref: str, environment: str) -> None:
        """Makes this the commit and the environment to work on, whatever options and settings say.

        Args:
            ref: By which the commit is shown.
        """
        self._pinned = (sha, ref, environment)

    def committed(self) -> Tree:
        """The files of the ref, or of the last commit: never uncommitted ones."""
        source = self.source
        return source.tree(source.fetch("HEAD")) if self.working_copy else source.tree()

    def base(self, ref: str | None) -> Tree:
        """The files to compare with: of the named ref; of HEAD for a working copy.

        Raises:
            UsageError: A ref is needed and was not given.
        """
        if ref is None:
            if not self.working_copy:
                raise UsageError("--offline compares two commits", hint="name the other one: --base REF")
            ref = "HEAD"
        source = self.source
        return source.tree(source.fetch(ref))

    def local_only(self) -> None:
        """Makes sure that nothing is asked of a network.

        Raises:
            UsageError: The repo is a remote one.
        """
        from reconciler.source.settings import parse_location

        if not isinstance(parse_location(self.repo), Path):
            raise UsageError(f"--offline reads no remote repo, and {self.repo!r} is one", hint="clone it first")

    def installation(self) -> wiring.Installation:
        """The installation, with the files to work on as its source; opened once."""
        gc.enable()
        if self._installation is None:
            self._installation = wiring.installation(
                self.places, self.settings, self.tree, environment=self.environment
            )
            # Some commands need no repo; without one there is nothing whose place another could take.
            with suppress(ReconcilerError):
                self._installation.reconciler.origin = wiring.origin_of(self.source)
        return self._installation

    def close(self) -> None:
        """Ends what was opened."""
        if self._installation is not None:
            self._installation.close()
        if self._source is not None:
            self._source.close()


def no_commit_yet(error: InvalidError) -> bool:
    """Whether an error says that what is checked out is too young to have a commit."""
    from reconciler.source.local import NoCommitError

    return isinstance(error, NoCommitError)
