"""Where everything lies, and what is opened there that needs nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import InvalidError

if TYPE_CHECKING:
    from reconciler.engine.store import Store
    from reconciler.manifests.cache import DocumentCache
    from reconciler.source import Source, SourceSettings


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies below the state directory."""

    state_dir: Path

    @property
    def database(self) -> Path:
        """The store."""
        return self.state_dir / "state.db"

    @property
    def identity(self) -> Path:
        """Installation id and master key."""
        return self.state_dir / "identity.json"

    @property
    def cache(self) -> Path:
        """What can be made again: parsed documents, mirrors of remotes."""
        return self.state_dir / "cache"

    @property
    def models(self) -> Path:
        """The model registry."""
        return self.state_dir / "models"

    @property
    def model_roots(self) -> Path:
        """Models laid out for those who serve them, one folder a set of versions."""
        return self.state_dir / "model-roots"

    def services(self, target: str) -> Path:
        """The services of a local target."""
        return self.state_dir / "services" / target


def make_private(folder: Path) -> None:
    """Makes a folder that only its owner can enter.

    Raises:
        InvalidError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidError(
            f"the state directory {folder} cannot be made: {error.strerror}",
            hint="name another one with --state-dir or RECONCILER_STATE_DIR",
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidError(
            f"the state directory {folder} is not writable",
            hint="name another one with --state-dir or RECONCILER_STATE_DIR",
        )


def open_repo(wanted: SourceSettings, places: Places) -> Source:
    """Opens the manifest repo; mirrors of remotes lie in the cache.

    Raises:
        InvalidError, AccessError, UnavailableError: As `open_source`.
    """
    from reconciler.source.source import open_source

    return open_source(wanted, places.cache / "git")


def document_cache(places: Places) -> DocumentCache:
    """The memory of parsed documents; kept in memory only where the cache folder cannot be made."""
    from reconciler.manifests.cache import DocumentCache

    try:
        places.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        places.cache.mkdir(exist_ok=True, mode=0o700)
    except OSError:
        return DocumentCache()
    return DocumentCache(places.cache / "documents")


def open_store(places: Places) -> Store:
    """The record alone, for commands that only read or note something.

    Raises:
        InvalidError: It is damaged, not writable, or of another release.
    """
    from reconciler.engine.clock import SystemClock
    from reconciler.engine.store import Store

    make_private(places.state_dir)
    return Store(places.database, SystemClock())
