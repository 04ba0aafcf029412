"""Reading a service's log over its rotations, and following it."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from reconciler.targets.local.process.layout import LOG

_PAUSE = 0.1


def tail(folder: Path, lines: int, follow: bool, stop: Event) -> Iterator[str]:
    """The last lines, oldest first; with `follow`, those that come, until `stop` is set or the service is gone."""
    current = folder / LOG
    try:
        file = current.open("rb")
    except FileNotFoundError:
        return
    try:
        # Where following begins is fixed before looking back, so that no line is shown twice or not at all.
        end = os.fstat(file.fileno()).st_size
        yield from _last(folder, file, end, lines)
    except BaseException:
        file.close()
        raise
    if follow:
        yield from _follow(folder, file, stop)
    file.close()


def _last(folder: Path, current: io.BufferedReader, end: int, lines: int) -> Iterator[str]:
    kept: deque[str] = deque(maxlen=max(0, lines))
    wanted = lines
    parts: list[list[str]] = []
    recent = _lines(current.read(end))
    parts.append(recent[-wanted:] if wanted > 0 else [])
    wanted -= len(recent)
    number = 1
    while wanted > 0:
        try:
            older = _lines((folder / f"{LOG}.{number}").read_bytes())
        except FileNotFoundError:
            break
        parts.append(older[-wanted:])
        wanted -= len(older)
        number += 1
    for part in reversed(parts):
        kept.extend(part)
    yield from kept


def _lines(data: bytes) -> list[str]:
    return data.decode(errors="replace").splitlines()


def _follow(folder: Path, file: io.BufferedReader, stop: Event) -> Iterator[str]:
    rest = b""
    try:
        ended = False
        newer: Path | None = None
        while True:
            chunk = file.read(65536)
            if chunk:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
                continue
            if ended and newer is not None:
                file.close()
                file, ended = newer.open("rb"), False
                continue
            newer = _next(folder, os.fstat(file.fileno()).st_ino)
            if newer is not None:
                # Rotated. What was appended just before is read first: hence one more turn with this file.
                ended = True
            elif not folder.exists() or stop.wait(_PAUSE):
                return
    except FileNotFoundError:
        return
    finally:
        file.close()


def _next(folder: Path, inode: int) -> Path | None:
    """The file that was begun after the one with this inode; None if that is the newest."""
    newer: Path | None = None
    number = 0
    while True:
        path = folder / (f"{LOG}.{number}" if number else LOG)
        try:
            found = path.stat().st_ino
        except FileNotFoundError:
            # Rotated away altogether: on with the oldest that is left.
            return newer
        if found == inode:
            return newer
        newer = path
        number += 1
