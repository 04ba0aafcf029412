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
    with file:
        # Where following begins is fixed before looking back, so that no line is shown twice or not at all.
        end = os.fstat(file.fileno()).st_size
        yield from _last(folder, file, end, lines)
    if follow:
        yield from _follow(current, end, stop)


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


def _follow(path: Path, position: int, stop: Event) -> Iterator[str]:
    rest = b""
    file = path.open("rb")
    try:
        file.seek(position)
        while True:
            chunk = file.read(65536)
            if chunk:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
                continue
            try:
                now = path.stat().st_ino
            except FileNotFoundError:
                return
            if now != os.fstat(file.fileno()).st_ino:
                # Rotated: what was appended before that has been read, the new file starts at its beginning.
                file.close()
                file = path.open("rb")
                continue
            if stop.wait(_PAUSE):
                return
    finally:
        file.close()
