"""Addresses of models, looked at without an installation: for the lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.wiring.operator import artifact_settings

if TYPE_CHECKING:
    from reconciler.artifacts.models.settings import ModelSettings
    from reconciler.core.sources import SourceState
    from reconciler.manifests.model_lock import Locked, LockKey
    from reconciler.settings import Settings


def model_settings(settings: Settings | None) -> ModelSettings:
    """What the operator lets models be fetched from."""
    return artifact_settings(settings)[0]


def looked_at(uri: str, settings: ModelSettings, folder: Path) -> Locked:
    """An address's entry in the lock, made of the bytes there.

    Args:
        folder: For the bytes on their way.

    Raises:
        TargetError: The bytes cannot be had.
    """
    from reconciler.artifacts.models.sources import fetched_from
    from reconciler.manifests.model_lock import STAMPS, Locked

    fetched = fetched_from(uri, settings, folder)
    stamps = tuple((key, str(fetched.origin[key])) for key in STAMPS if key in fetched.origin)
    size = None if fetched.folder else fetched.parts[0].size
    return Locked(fetched.digest, size, stamps)


def asked(entries: Sequence[tuple[LockKey, Locked]], settings: ModelSettings) -> Mapping[LockKey, SourceState]:
    """Whether addresses still hold what is locked, as far as they say."""
    from reconciler.artifacts.models.http import Http
    from reconciler.artifacts.models.sources import Asking
    from reconciler.core.sources import SourceState, difference

    http = Http(settings)
    try:
        said = Asking(settings, lambda: http).of({key.uri for key, _ in entries})
    finally:
        http.close()
    found: dict[LockKey, SourceState] = {}
    for key, locked in entries:
        answer = said[key.uri]
        if isinstance(answer, str):
            found[key] = SourceState(silent=answer)
        else:
            found[key] = SourceState(moved=difference(dict(locked.said), answer))
    return found
