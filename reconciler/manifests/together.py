"""Reading many files on two processors: a copy of this process reads one half while this one reads the other.

What is found is the same either way: files with problems, and all of them if the copy fails, are read by this process.
Nothing is copied where other threads run, since they may hold locks that nobody in the copy would release.
"""

from __future__ import annotations

import marshal
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO, TypeVar

from reconciler.core.contents import Listed
from reconciler.core.errors import InvalidError
from reconciler.manifests.packing import pack, unpack
from reconciler.manifests.repo import ManifestFile

Item = TypeVar("Item")
Unread = tuple[Listed, bytes | int | InvalidError]
Read = Callable[[Listed, bytes | int | InvalidError], ManifestFile]

# To make a copy and to hear from it takes as long as reading so many files.
FEWEST = 100
# Bytes that are held in memory before they are shared out.
_MOST_BYTES = 32 << 20


def read_together(files: Iterable[Unread], read: Read) -> Iterator[ManifestFile]:
    """What files hold, in their order.

    Args:
        files: With their bytes, or what else there is to say of them.
        read: Reads one; of bytes it makes its result from nothing else.
    """
    if not _worth_it():
        yield from (read(*file) for file in files)
        return
    for group in _groups(files):
        yield from _shared_out(group, read) if len(group) >= FEWEST else (read(*file) for file in group)


def meanwhile(work: Callable[[], object], items: Iterator[Item]) -> Iterator[Item]:
    """The same items, with some work done while the first one is waited for."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        first = next(items, None)
    finally:
        thread.join()
    if first is not None:
        yield first
        yield from items


def _worth_it() -> bool:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors > 1 and threading.active_count() == 1 and hasattr(os, "fork")


def _groups(files: Iterable[Unread]) -> Iterator[list[Unread]]:
    group: list[Unread] = []
    size = 0
    for file in files:
        group.append(file)
        size += len(file[1]) if isinstance(file[1], bytes) else 0
        if size > _MOST_BYTES:
            yield group
            group, size = [], 0
    yield group


def _shared_out(group: list[Unread], read: Read) -> Iterator[ManifestFile]:
    half = len(group) // 2
    copy = _begin(group[half:], read)
    for file in group[:half]:
        yield read(*file)
    known = _end(*copy) if copy is not None else {}
    for entry, data in group[half:]:
        packed = known.get(entry.path)
        yield unpack(entry.path, entry.object_id, packed) if packed is not None else read(entry, data)


def _begin(files: list[Unread], read: Read) -> tuple[int, BinaryIO] | None:
    """A copy of this process that reads files; None if there can be no more processes."""
    answer, said = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(answer)
        os.close(said)
        return None
    if pid:
        os.close(said)
        return pid, os.fdopen(answer, "rb")
    # Whatever happens, nothing of what this process would do at its end is done here, too.
    code = 1
    with suppress(BaseException):
        os.close(answer)
        found = {entry.path: read(entry, data) for entry, data in files if isinstance(data, bytes)}
        sound = {path: pack(file) for path, file in found.items() if not file.problems and not file.unreadable}
        with os.fdopen(said, "wb") as stream:
            stream.write(marshal.dumps(sound))
        code = 0
    os._exit(code)


def _end(pid: int, answer: BinaryIO) -> dict[str, bytes]:
    """What a copy has read, by path; nothing if it came to harm."""
    with answer:
        told = answer.read()
    _, status = os.waitpid(pid, 0)
    return marshal.loads(told) if status == 0 else {}  # noqa: S302
