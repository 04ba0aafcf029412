"""The bytes of models by their SHA-256: written once, read only, shared by all versions that hold them."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import TargetError, TerminalError, UnavailableError
from reconciler.core.values import digest

CHUNK = 1 << 20
# Written blocks go to the disk while more is read, so that the last fsync has little left to do.
_FLUSH_EVERY = 64 << 20
# 2000-01-01: some archive formats know nothing before 1980.
_STAMP_BASE = 946_684_800


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a model version.

    Args:
        path: Relative to the model's folder; "" if the model is a single file.
        sha256: 64 hex digits.
        size: Bytes.
    """

    path: str
    sha256: str
    size: int
    executable: bool = False

    @property
    def mtime_ns(self) -> int:
        """The time stamp that its stored file is given: with the size it tells cheaply whether somebody touched it.

        Made of the digest, so that equal content has an equal stamp, whenever it was stored; in the years 2000 to 2008.
        """
        return (_STAMP_BASE + int(self.sha256[:7], 16)) * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a transfer brought: the files, and what the source said of them."""

    parts: tuple[Part, ...]
    folder: bool
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def digest(self) -> str:
        """Of the version."""
        return digest_of(self.parts, folder=self.folder)


def digest_of(parts: Iterable[Part], *, folder: bool) -> str:
    """A model version's digest: of the bytes for a file, of the sorted `[path, sha256]` list for a folder."""
    found = sorted((part.path, part.sha256) for part in parts)
    if not folder:
        return f"sha256:{found[0][1]}"
    return f"sha256:{digest([list(each) for each in found])}"


def disk_error(error: OSError, folder: Path) -> TargetError:
    """What an operating system's refusal means for people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnavailableError(
            f"no space is left for models in {folder}", hint="free space or enlarge the disk; nothing was half-done"
        )
    if error.errno == errno.EFBIG:
        return UnavailableError(f"a file in {folder} would become larger than the system allows", hint="see ulimit -f")
    return UnavailableError(f"the model store {folder} cannot be used: {error.strerror or error}")


class Writer:
    """One file on its way into the store: hashed while written, there as a whole or not at all."""

    def __init__(
        self, folder: Path, limit: int, stopped: Callable[[], bool], progress: Callable[[int], None] = lambda _: None
    ) -> None:
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        self._limit = limit
        self._stopped = stopped
        self._progress = progress
        self._hash = hashlib.sha256()
        self.size = 0
        self._flushed = 0
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, block: bytes | memoryview) -> None:
        """Adds bytes.

        Raises:
            TerminalError: The model is larger than allowed.
            UnavailableError: The registry is being closed.
        """
        if self._stopped():
            raise UnavailableError("the transfer was stopped")
        self.size += len(block)
        if self.size > self._limit:
            raise TerminalError(
                f"the model is larger than the {self._limit:,} bytes allowed", hint="raise the operator's limit"
            )
        self._hash.update(block)
        view = memoryview(block)
        while view:
            view = view[os.write(self._handle, view) :]
        if self.size - self._flushed >= _FLUSH_EVERY and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_DONTNEED)
            self._flushed = self.size
        self._progress(self.size)

    def restart(self) -> None:
        """Forgets what was written: the source began anew."""
        os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._hash, self.size, self._flushed = hashlib.sha256(), 0, 0

    def finish(self) -> tuple[Path, str]:
        """Makes the bytes durable; the temporary file and its SHA-256."""
        sha256 = self._hash.hexdigest()
        stamp = Part("", sha256, self.size).mtime_ns
        os.utime(self._handle, ns=(stamp, stamp))
        os.fchmod(self._handle, 0o444)
        os.fsync(self._handle)
        os.close(self._handle)
        self._handle = -1
        return self._path, sha256

    def abandon(self) -> None:
        """Removes what was not finished."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._path.unlink(missing_ok=True)


class ContentStore:
    """Files by SHA-256 below one folder: `objects/9c/9c41…`, executables as `9c41….x`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "objects"
        self._incoming = root / "incoming"

    def path(self, part: Part) -> Path:
        """Where a file lies."""
        return self._objects / part.sha256[:2] / (part.sha256 + (".x" if part.executable else ""))

    def prepare(self) -> None:
        """Makes the folders and removes what an interrupted transfer left."""
        self._objects.mkdir(parents=True, exist_ok=True)
        self._incoming.mkdir(exist_ok=True)
        for left in self._incoming.iterdir():
            owner = left.name.partition("-")[0]
            if not owner.isdigit() or not _alive(int(owner)):
                left.unlink(missing_ok=True)

    def held(self, sha256: str, size: int, *, executable: bool) -> Part | None:
        """The stored file of that digest, if it is there unharmed."""
        part = Part("", sha256, size, executable)
        return None if self.fault(part) else part

    def writer(
        self, limit: int, stopped: Callable[[], bool], progress: Callable[[int], None] = lambda _: None
    ) -> Writer:
        """Begins a file; `progress` is told its size after each block."""
        return Writer(self._incoming, limit, stopped, progress)

    def keep(self, path: str, writer: Writer, *, executable: bool) -> Part:
        """Ends a file and gives it its place; if the same bytes are there already, those stay."""
        temporary, sha256 = writer.finish()
        part = Part(path, sha256, writer.size, executable)
        place = self.path(part)
        if not self.fault(part):
            temporary.unlink()
            return part
        place.parent.mkdir(exist_ok=True)
        if executable:
            temporary.chmod(0o555)
        temporary.replace(place)
        sync_folder(place.parent)
        return part

    def fault(self, part: Part) -> str:
        """What is wrong with a stored file, in words, judged by its size and time; "" if nothing is."""
        try:
            status = self.path(part).lstat()
        except OSError:
            return "content missing"
        if status.st_size != part.size or status.st_mtime_ns != part.mtime_ns or not stat.S_ISREG(status.st_mode):
            return "content changed on disk"
        return ""

    def collect(self, used: set[tuple[str, bool]]) -> int:
        """Removes the files that no version holds; how many."""
        removed = 0
        for path in self._files():
            if (path.name.removesuffix(".x"), path.name.endswith(".x")) not in used:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _files(self) -> Iterator[Path]:
        for folder in self._objects.iterdir():
            if folder.is_dir():
                yield from folder.iterdir()


def sync_folder(folder: Path) -> None:
    """Makes a rename durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy(stream: BinaryIO, writer: Writer) -> None:
    """Reads a stream to its end into a writer, a block at a time."""
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    readinto = getattr(stream, "readinto", None)
    if readinto is None:
        while block := stream.read(CHUNK):
            writer.write(block)
        return
    while count := readinto(view):
        writer.write(view[:count])


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
