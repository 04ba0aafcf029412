"""What stands behind the addresses of models now: one question an address, its answer believed for a while.

Asking reads no content. An address that cannot say anything (a folder of an object store) is never known to have moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from reconciler.artifacts.models.content import ContentStore, Fetched
from reconciler.artifacts.models.record import Record
from reconciler.artifacts.models.registry import ModelRegistry
from reconciler.artifacts.models.settings import ModelSettings
from reconciler.artifacts.models.transfer import Source, Transfer, allowed_path, refuse_address, stamp_of
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import ReconcilerError, TerminalError
from reconciler.core.sources import SourceState, Watched, difference

if TYPE_CHECKING:
    from reconciler.artifacts.models.http import Http

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer, or why there was none."""

    at: float
    stamps: Mapping[str, Any]
    silent: str = ""


class Asking:
    """Asks addresses what stands there.

    Args:
        http: Gives the client; called only where something is asked over HTTP.
        monotonic: A clock in seconds.
    """

    def __init__(
        self, settings: ModelSettings, http: Callable[[], Http], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._http = http
        self._monotonic = monotonic
        self._guard = Lock()
        self._said: dict[str, _Said] = {}

    def of(self, uris: Collection[str]) -> Mapping[str, Mapping[str, Any] | str]:
        """By address, what is said of the content there; a text says why nothing is.

        Addresses that are asked about no more are forgotten.
        """
        since = self._monotonic() - self._settings.check_seconds
        with self._guard:
            said = {uri: known for uri in uris if (known := self._said.get(uri)) is not None and known.at > since}
        old = sorted(set(uris) - said.keys())
        if old:
            with ThreadPoolExecutor(min(_AT_ONCE, len(old)), "ask") as pool:
                said.update(zip(old, pool.map(self._ask, old), strict=True))
        with self._guard:
            self._said = said
        return {uri: each.silent or each.stamps for uri, each in said.items()}

    def _ask(self, uri: str) -> _Said:
        try:
            return _Said(self._monotonic(), self._stamps(uri))
        except ReconcilerError as error:
            silent = error.message
        except OSError as error:
            silent = f"{uri} cannot be read: {error.strerror}"
        return _Said(self._monotonic(), {}, silent)

    def _stamps(self, uri: str) -> Mapping[str, Any]:
        scheme = uri.split(":", 1)[0].lower()
        if scheme == "file":
            path = allowed_path(uri, self._settings.file_folders)
            if not path.exists():
                raise TerminalError(f"{uri} is not there")
            return stamp_of(path)
        refuse_address(uri, self._settings.uri_prefixes)
        if scheme in ("http", "https"):
            return self._http().head(uri)
        from reconciler.artifacts.models.filesystems import ask_fsspec

        return ask_fsspec(uri)


def fetched_from(uri: str, settings: ModelSettings, folder: Path) -> Fetched:
    """Fetches what stands at an address for what is to be said of it: its digest, its size, its stamps.

    Args:
        folder: For the bytes on their way.

    Raises:
        TargetError: The bytes cannot be had.
    """
    from reconciler.artifacts.models.http import Http

    client: list[Http] = []

    def http() -> Http:
        client.append(Http(settings))
        return client[0]

    try:
        transfer = Transfer(ContentStore(folder), settings, None, http, lambda: False, lambda size: None)
        return transfer.fetch(Source(uri=uri), None)
    finally:
        for each in client:
            each.close()


def registered_from(registry: ModelRegistry, watched: Sequence[Watched]) -> dict[Watched, SourceState]:
    """The newest registered version that came from each address, nobody being asked."""
    newest = _newest(registry)
    found = {each: newest.get((each.model, each.uri)) for each in watched}
    return {each: _state(record) for each, record in found.items()}


def now_behind(registry: ModelRegistry, watched: Sequence[Watched], asking: Asking) -> dict[Watched, SourceState]:
    """The same, compared with what the addresses say now."""
    newest = _newest(registry)
    answers = asking.of({each.uri for each in watched})
    found: dict[Watched, SourceState] = {}
    for each in watched:
        record, said = newest.get((each.model, each.uri)), answers[each.uri]
        then = dict(each.stamps) or (record.origin if record is not None else {})
        if isinstance(said, str):
            found[each] = _state(record, silent=said)
        else:
            found[each] = _state(record, moved=difference(then, said))
    return found


def _newest(registry: ModelRegistry) -> dict[tuple[str, str], Record]:
    newest: dict[tuple[str, str], Record] = {}
    for record in registry.all()[0]:
        if isinstance(record, Record) and (uri := Source.of(record.spec).uri):
            model = record.id.name.rpartition(":")[0]
            before = newest.get((model, uri))
            if before is None or _number(before) < _number(record):
                newest[model, uri] = record
    return newest


def _number(record: Record) -> int:
    return int(record.id.name.rpartition(":")[2])


def _state(record: Record | None, moved: str = "", silent: str = "") -> SourceState:
    if record is None:
        return SourceState(moved=moved, silent=silent)
    return SourceState(str(_number(record)), record.digest, moved, silent)
