"""The objects of one repository, read through long-lived `git cat-file` processes; safe to use from many threads."""

from __future__ import annotations

import io
import re
import subprocess
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import BinaryIO, cast

from reconciler.core.errors import InvalidError, UnavailableError
from reconciler.source.command import Git, end, last_line
from reconciler.source.objects import (
    Algorithm,
    Commit,
    Difference,
    TreeItem,
    parse_commit,
    parse_differences,
    parse_tree,
)

# Larger blobs are streamed by a process of their own, so that nobody waits for them and memory stays constant.
STREAM_FROM = 1 << 20
_CHUNK = 1 << 17
# So few requests and answers fit into a pipe, so that neither side waits for the other.
_FEW = 64
_BATCH_BYTES = 64 << 20
_TIMEOUT = 300.0
_MANY_IDS = re.compile(r"(?:[0-9a-f]{40}(?:[0-9a-f]{24})?\n?)+")
_HEADER = "--batch-check=%(objectname) %(objecttype) %(objectsize)"


class _Process:
    """One `git cat-file --batch…`, started at first use and again after it died."""

    def __init__(self, git: Git, mode: str) -> None:
        self._git = git
        self._mode = mode
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[..., _Process] | None = None

    def __enter__(self) -> tuple[BinaryIO, BinaryIO]:
        self._lock.acquire()
        try:
            if self._process is None or self._process.poll() is not None:
                self._drop()
                self._process = self._git.start("cat-file", self._mode, stdin=subprocess.PIPE)
                self._finalizer = weakref.finalize(self, end, self._process)
            assert self._process.stdin is not None
            assert self._process.stdout is not None
        except BaseException:
            self._lock.release()
            raise
        return cast("BinaryIO", self._process.stdin), cast("BinaryIO", self._process.stdout)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # After any failure the two sides no longer agree on what is being said.
        if kind is not None:
            self._drop()
        self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._finalizer = self._process = None


class Database:
    """Objects by id.

    Args:
        git: Git in the repository.
        algorithm: The repository's object format.
    """

    def __init__(self, git: Git, algorithm: Algorithm = "sha1") -> None:
        self.git = git
        self.algorithm: Algorithm = algorithm
        self._contents = _Process(git, "--batch")
        self._headers = _Process(git, _HEADER)
        self._sizes: dict[str, int] = {}
        self._tree = lru_cache(maxsize=4096)(self._read_tree)

    def close(self) -> None:
        """Ends the processes; they start again if they are needed again."""
        self._contents.close()
        self._headers.close()

    def tree(self, object_id: str) -> tuple[TreeItem, ...]:
        """A folder's items.

        Raises:
            InvalidError: There is no such tree.
        """
        return self._tree(object_id)

    def _read_tree(self, object_id: str) -> tuple[TreeItem, ...]:
        return parse_tree(self.read(object_id, "tree"), self.algorithm)

    def kind(self, object_id: str) -> str | None:
        """`blob`, `tree`, `commit`, `tag`, or None if the repository does not hold it."""
        return self._check([object_id])[object_id][0]

    def sizes(self, object_ids: Iterable[str]) -> dict[str, int]:
        """Bytes of blobs; asked of Git once an object.

        Raises:
            InvalidError: One of them is not there (a damaged or partial clone).
        """
        wanted = list(object_ids)
        known = self._sizes
        unknown = [oid for oid in wanted if oid not in known]
        for oid, (kind, size) in self._check(unknown).items():
            if kind is None:
                raise self._missing(oid)
            known[oid] = size
        return {oid: known[oid] for oid in wanted}

    def _check(self, object_ids: list[str]) -> dict[str, tuple[str | None, int]]:
        found: dict[str, tuple[str | None, int]] = {}
        if not object_ids:
            return found
        if len(object_ids) > _FEW:
            return self._check_many(object_ids)
        with _answering(self), self._headers as (ask, answer):
            ask.write("".join(f"{_checked(oid)}\n" for oid in object_ids).encode())
            ask.flush()
            for oid in object_ids:
                found[oid] = _header(answer.readline())
        return found

    def _check_many(self, object_ids: list[str]) -> dict[str, tuple[str | None, int]]:
        answer = self._asked(object_ids, _HEADER)
        words = answer.decode().split()
        if len(words) == 3 * len(object_ids) and words[::3] == object_ids and "missing" not in words[1::3]:
            return dict(zip(object_ids, zip(words[1::3], map(int, words[2::3]), strict=True), strict=True))
        with _answering(self):
            return dict(zip(object_ids, map(_header, [*answer.splitlines(), b""]), strict=False))

    def read(self, object_id: str, kind: str = "blob", limit: int | None = None) -> bytes:
        """An object's bytes.

        Raises:
            InvalidError: There is none, it is of another kind, or larger than `limit` bytes.
        """
        with _answering(self), self._contents as (ask, answer):
            ask.write(f"{_checked(object_id)}\n".encode())
            ask.flush()
            words = answer.readline().split()
            if not words:
                raise EOFError
            if len(words) != 3:
                found, size, data = "", 0, b""
            else:
                found, size = words[1].decode(), int(words[2])
                if found == kind and (limit is None or size <= limit):
                    data = answer.read(size)
                    answer.read(1)
                else:
                    data = b""
                    _skip(answer, size + 1)
        if not found:
            raise self._missing(object_id)
        if found != kind:
            raise InvalidError(f"object {object_id} is a {found}, not a {kind}")
        if limit is not None and size > limit:
            raise InvalidError(f"object {object_id} has {size} bytes, more than the allowed {limit}")
        if len(data) != size:
            raise UnavailableError("git cat-file ended in the middle of an object")
        return data

    def read_many(self, object_ids: Sequence[str], limit: int) -> Iterator[bytes | int | InvalidError]:
        """The bytes of blobs in their order, asked of Git together; of one larger than `limit` its size.

        The error stands for one that is not there (in a damaged or partial clone).
        """
        told = self._check(list(object_ids))
        sizes = {oid: size for oid, (kind, size) in told.items() if kind is not None}
        for batch in _batches(object_ids, sizes, limit):
            read = iter(self._read_batch([oid for oid in batch if sizes.get(oid, limit + 1) <= limit]))
            for oid in batch:
                size = sizes.get(oid)
                if size is None:
                    yield self._missing(oid)
                else:
                    yield next(read) if size <= limit else size

    def _read_batch(self, object_ids: list[str]) -> Iterable[bytes]:
        if len(object_ids) <= _FEW:
            return (self.read(oid) for oid in object_ids)
        return _split(self._asked(object_ids, "--batch"), object_ids)

    def _asked(self, object_ids: Sequence[str], mode: str) -> bytes:
        """What a process of its own answers, which may buffer: ten times as fast as one answer at a time."""
        question = "\n".join(object_ids)
        if not _MANY_IDS.fullmatch(question):
            raise InvalidError("one of the ids is not a Git object id")
        process = self.git.start("cat-file", mode, "--buffer", stdin=subprocess.PIPE)
        try:
            answer, _ = process.communicate(f"{question}\n".encode(), timeout=_TIMEOUT)
        finally:
            end(process)
        return answer

    def commit(self, name: str) -> tuple[str, Commit] | None:
        """The commit that a ref, an id or a revision such as `HEAD~2` names now; None if it names none.

        Args:
            name: As `parse_ref` lets it through.
        """
        with _answering(self), self._contents as (ask, answer):
            ask.write(f"{name}^{{commit}}\n".encode("utf-8", "surrogateescape"))
            ask.flush()
            line = answer.readline()
            if not line:
                raise EOFError
            words = line.split()
            if len(words) != 3 or words[1] != b"commit" or not words[2].isdigit():
                return None
            data = answer.read(int(words[2]))
            answer.read(1)
        return words[0].decode(), parse_commit(data)

    def differences(self, before: str, after: str) -> Sequence[Difference] | None:
        """What one tree has that another has not, in its folders too; None if Git cannot tell."""
        told = self.git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff", "--end-of-options",
                            _checked(before), _checked(after), timeout=_TIMEOUT)  # fmt: skip
        return list(parse_differences(told.output)) if told.code == 0 else None

    def open(self, object_id: str) -> BinaryIO:
        """A stream over a blob; large ones are not held in memory.

        Raises:
            InvalidError: There is no such blob.
        """
        if self.sizes([object_id])[object_id] < STREAM_FROM:
            return io.BytesIO(self.read(object_id))
        return cast("BinaryIO", io.BufferedReader(_BlobStream(self.git, object_id), _CHUNK))

    def _missing(self, object_id: str) -> InvalidError:
        return InvalidError(
            f"object {object_id} is not in {self.git.folder}",
            hint="fetch again; if it stays away, the repository is damaged (git fsck) or a partial clone",
        )


class _answering:
    """Turns a died git process into an error for people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (EOFError, BrokenPipeError)):
            told = self._database.git.run("rev-parse", "--git-dir")
            reason = last_line(told.error) if told.code else "it was ended from outside"
            raise UnavailableError(f"git cat-file ended in {self._database.git.folder}: {reason}") from error


def _checked(object_id: str) -> str:
    if len(object_id) not in (40, 64) or object_id.strip("0123456789abcdef"):
        raise InvalidError(f"{object_id!r} is not a Git object id")
    return object_id


def _header(line: bytes) -> tuple[str | None, int]:
    words = line.split()
    if not words:
        raise EOFError
    return (words[1].decode(), int(words[2])) if len(words) == 3 else (None, 0)


def _batches(object_ids: Sequence[str], sizes: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """Parts of so many bytes that they may be held in memory."""
    batch: list[str] = []
    total = 0
    for oid in object_ids:
        batch.append(oid)
        size = sizes.get(oid, 0)
        total += size if size <= limit else 0
        if total > _BATCH_BYTES:
            yield batch
            batch, total = [], 0
    yield batch


def _split(answer: bytes, object_ids: Sequence[str]) -> Iterator[bytes]:
    """The blobs in what `git cat-file --batch` said: `<id> blob <size>`, the bytes, a line's end."""
    at = 0
    for oid in object_ids:
        end_of_line = answer.find(b"\n", at)
        words = answer[at:end_of_line].split()
        if end_of_line < 0 or len(words) != 3 or words[0].decode() != oid or words[1] != b"blob":
            raise InvalidError(f"object {oid} cannot be read", hint="run git fsck in the repository")
        start, size = end_of_line + 1, int(words[2])
        if start + size >= len(answer):
            raise UnavailableError("git cat-file ended in the middle of an object")
        yield answer[start : start + size]
        at = start + size + 1


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0:
        block = stream.read(min(count, _CHUNK))
        if not block:
            raise EOFError
        count -= len(block)


class _BlobStream(io.RawIOBase):
    """The output of `git cat-file blob`; ends with an error if git did."""

    def __init__(self, git: Git, object_id: str) -> None:
        self._process = git.start("cat-file", "blob", _checked(object_id))
        self._object_id = object_id
        self._finalizer = weakref.finalize(self, end, self._process)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        assert self._process.stdout is not None
        count = cast("io.BufferedReader", self._process.stdout).readinto1(buffer)
        if not count and self._process.wait() != 0:
            raise InvalidError(f"git could not read object {self._object_id} to its end", hint="run git fsck")
        return count

    def close(self) -> None:
        self._finalizer()
        super().close()
