"""Bringing a model's bytes into the store, wherever they come from, each block hashed on its way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast, runtime_checkable
from urllib.parse import unquote, urlsplit

from reconciler.artifacts.models.content import ContentStore, Fetched, Part, Writer, copy, disk_error
from reconciler.artifacts.models.filesystems import fetch_by_fsspec
from reconciler.artifacts.models.settings import ModelSettings
from reconciler.core.contents import Contents
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import AccessError, TerminalError, UnavailableError

if TYPE_CHECKING:
    from reconciler.artifacts.models.http import Http

# "Pointer files must be less than 1024 bytes in size" (Git LFS specification, "The Pointer").
_POINTER_BYTES = 1024
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


@runtime_checkable
class LargeFiles(Protocol):
    """What contents of a Git repository can do besides: give the file that a Git LFS pointer stands for."""

    def open_large(self, object_id: str) -> BinaryIO:
        """A stream over that file; the caller closes it."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Where a version's bytes come from, as its spec says: `path` and `object` in the repo, or a `uri`."""

    path: str = ""
    object_id: str = ""
    uri: str = ""
    lfs: bool = False

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Source:
        """The source of a model's spec."""
        data = cast("Mapping[str, Any]", spec.get("source") or {})
        return cls(
            str(data.get("path", "")), str(data.get("object", "")), str(data.get("uri", "")), bool(data.get("lfs"))
        )

    def __str__(self) -> str:
        return self.path or self.uri


class Transfer:
    """One transfer.

    Args:
        contents: The repo's bytes; None where there is no repo.
        http: Gives the client; called only where something is fetched over HTTP.
        stopped: Whether to give up.
        progress: Told the bytes written so far, after each block.
    """

    def __init__(
        self,
        store: ContentStore,
        settings: ModelSettings,
        contents: Contents | None,
        http: Callable[[], Http],
        stopped: Callable[[], bool],
        progress: Callable[[int], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._contents = contents
        self._http = http
        self._stopped = stopped
        self._progress = progress
        self._written = 0

    def fetch(self, source: Source, expected: str | None) -> Fetched:
        """Brings the bytes into the store and checks them.

        Args:
            expected: The digest they must have, if it is known; files that are there already are not read again.

        Raises:
            TerminalError: The bytes are others than expected, too large, or the source is not allowed.
            UnavailableError, AccessError, ThrottledError: The source does not give them now; the disk is full.
        """
        try:
            self._store.prepare()
            fetched = self._fetch(source, expected)
        except OSError as error:
            raise disk_error(error, self._store.root) from error
        if expected is not None and fetched.digest != expected:
            raise TerminalError(
                f"the bytes of {source} have {fetched.digest}, but {expected} was expected",
                hint="restore the file, or take the change as a new version: correct the sha256 in the manifest or, "
                "if it stands in model.lock, run `reconciler models lock` with the model's name",
            )
        return fetched

    def _fetch(self, source: Source, expected: str | None) -> Fetched:
        if not source.uri:
            return self._from_repo(source, expected)
        scheme = urlsplit(source.uri).scheme.lower()
        if scheme == "file":
            return self._from_disk(source.uri)
        refuse_address(source.uri, self._settings.uri_prefixes)
        if scheme in ("http", "https"):
            writer = self._begin()
            try:
                origin = self._http().fetch(source.uri, writer, self._room)
                return Fetched((self._store.keep("", writer, executable=False),), False, origin)
            finally:
                writer.abandon()
        return fetch_by_fsspec(source.uri, self._one, self._settings.max_files)

    def _from_repo(self, source: Source, expected: str | None) -> Fetched:
        if self._contents is None or not source.object_id:
            raise UnavailableError(f"{source} cannot be read: there is no repo at hand")
        single = (expected or "").removeprefix("sha256:")
        parts: list[Part] = []
        folder = False
        for entry in self._contents.files(source.object_id):
            folder = folder or bool(entry.path)
            if not entry.path and not source.lfs and (held := self._store.held(single, entry.size, executable=False)):
                return Fetched((held,), False)
            large = source.lfs and entry.size < _POINTER_BYTES and self._is_pointer(entry.object_id)
            with self._large(entry.object_id) if large else self._contents.open(entry.object_id) as stream:
                parts.append(self._one(entry.path, stream, entry.executable and folder, None if large else entry.size))
        if not parts:
            raise TerminalError(f"{source} is an empty folder")
        return Fetched(tuple(parts), folder)

    def _is_pointer(self, object_id: str) -> bool:
        assert self._contents is not None
        with self._contents.open(object_id) as stream:
            return stream.read(len(_POINTER)) == _POINTER

    def _large(self, object_id: str) -> BinaryIO:
        if not isinstance(self._contents, LargeFiles):
            raise UnavailableError("the model is kept by Git LFS, which this source cannot read")
        return self._contents.open_large(object_id)

    def _from_disk(self, uri: str) -> Fetched:
        path = allowed_path(uri, self._settings.file_folders)
        if path.is_file():
            with path.open("rb") as stream:
                status = path.stat()
                part = self._one("", stream, False, status.st_size)
            return Fetched((part,), False, stamp_of(path))
        if not path.is_dir():
            raise TerminalError(f"{uri} is not there", hint="check the path; it is read on the daemon's machine")
        parts: list[Part] = []
        for below in _walk(path, self._settings.max_files):
            allowed_path(below.as_uri(), (path,))
            with below.open("rb") as stream:
                status = below.stat()
                name = below.relative_to(path).as_posix()
                parts.append(self._one(name, stream, bool(status.st_mode & 0o100), status.st_size))
        if not parts:
            raise TerminalError(f"{uri} is an empty folder")
        return Fetched(tuple(parts), True, stamp_of(path))

    def _one(self, path: str, stream: BinaryIO, executable: bool, size: int | None) -> Part:
        if size is not None:
            self._room(size)
        writer = self._begin()
        try:
            copy(stream, writer)
            part = self._store.keep(path, writer, executable=executable)
        finally:
            writer.abandon()
        self._written += part.size
        return part

    def _begin(self) -> Writer:
        before = self._written
        return self._store.writer(
            self._settings.max_bytes - before, self._stopped, lambda size: self._progress(before + size)
        )

    def _room(self, size: int) -> None:
        """Refuses before the first byte what cannot fit."""
        if self._written + size > self._settings.max_bytes:
            raise TerminalError(
                f"the model has {self._written + size:,} bytes, more than the {self._settings.max_bytes:,} allowed",
                hint="raise the operator's limit",
            )
        free = shutil.disk_usage(self._store.root).free
        if size > free:
            raise UnavailableError(
                f"the model has {size:,} bytes, but {self._store.root} has {free:,} free",
                hint="free space or enlarge the disk",
            )


def refuse_address(uri: str, prefixes: tuple[str, ...]) -> None:
    """Makes sure that an address is one of those that models may come from.

    Raises:
        TerminalError: It is not.
    """
    if not any(uri.startswith(prefix) for prefix in prefixes):
        raise TerminalError(
            f"{uri} is not below any address that this installation may fetch models from",
            hint=f"allowed: {', '.join(prefixes) or 'none'}; the operator's settings say which",
        )


def allowed_path(uri: str, folders: tuple[Path, ...]) -> Path:
    """The path of a `file:` URI, links followed, if it lies in one of the folders.

    Raises:
        AccessError: It does not.
    """
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise TerminalError(f"{uri} names a host; file URIs are read on this machine", hint="write file:///path")
    path = Path(unquote(parts.path)).resolve()
    if not any(path.is_relative_to(folder.resolve()) for folder in folders):
        raise AccessError(
            f"{uri} does not lie in a folder from which this installation may read models",
            hint="the operator's settings name the folders; none is allowed by default",
        )
    return path


def stamp_of(path: Path) -> dict[str, Any]:
    """What tells cheaply that a file or folder behind a `file:` URI changed."""
    status = path.stat()
    if path.is_file():
        return {"size": status.st_size, "mtimeNs": status.st_mtime_ns}
    found = [below.stat() for below in _walk(path, 1_000_000)]
    newest = max([each.st_mtime_ns for each in found] + [status.st_mtime_ns])
    return {"size": sum(each.st_size for each in found), "mtimeNs": newest, "files": len(found)}


def _walk(folder: Path, limit: int) -> Iterator[Path]:
    count = 0
    for below in sorted(folder.rglob("*")):
        if below.is_file():
            count += 1
            if count > limit:
                raise TerminalError(f"{folder} holds more than {limit:,} files", hint=_SMALLER)
            yield below


_SMALLER = "name a folder that holds the model only"
