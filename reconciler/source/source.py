"""Opening a manifest repo, wherever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from reconciler.core.contents import Revision
from reconciler.source.local import LocalSource
from reconciler.source.settings import SourceSettings, parse_location
from reconciler.source.tree import GitTree


class Source(Protocol):
    """A manifest repo. Safe to use from many threads."""

    settings: SourceSettings

    @property
    def location(self) -> str:
        """For messages; holds no credentials."""
        ...

    @property
    def origin(self) -> str:
        """What is the same for every clone of the repo; holds no credentials."""
        ...

    @property
    def path(self) -> str:
        """The manifest folder, relative to the repository's root."""
        ...

    def peek(self, ref: str | None = None) -> str:
        """The commit that a ref (the settings' one unless given) names now: a cheap question, for polling.

        Raises:
            InvalidError: There is no such ref.
            UnavailableError: The remote cannot be asked. AccessError: it refuses.
        """
        ...

    def fetch(self, ref: str | None = None) -> Revision:
        """Makes the newest commit of a ref readable here; what was fetched before stays readable.

        Raises:
            InvalidError: There is no such ref, or its commit has no acceptable signature.
            UnavailableError: The remote cannot be reached. AccessError: it refuses.
        """
        ...

    def tree(self, revision: Revision | None = None) -> GitTree:
        """The files of a revision that was fetched; None fetches what the settings name."""
        ...

    def close(self) -> None:
        """Ends the git processes."""
        ...


def open_source(settings: SourceSettings, cache_dir: Path) -> Source:
    """Opens a manifest repo.

    Args:
        cache_dir: Where mirrors of remotes are kept (in the state directory); created when needed.

    Raises:
        InvalidError: The location, ref or path cannot be used.
        AccessError: A local repository cannot be read or belongs to another user.
    """
    place = parse_location(settings.location)
    if isinstance(place, Path):
        return LocalSource(settings, place)
    # Imported here: most repos are on this machine.
    from reconciler.source.remote import RemoteSource

    return RemoteSource(settings, place, cache_dir)
