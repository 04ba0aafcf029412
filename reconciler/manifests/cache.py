"""What has been read before, by the id of its bytes: validated documents, model digests, facts about scripts.

In memory always, and on disk where a path is given. What is on disk is a memory only: if it is missing, of another
version or damaged it is made anew. It is trusted like the program itself and so is readable for its owner alone.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from reconciler.core.problems import Position
from reconciler.manifests.repo import Manifest, ManifestFile
from reconciler.manifests.yaml import Marks

_MAGIC = b"reconciler documents\n"
_MOST_BYTES = 512 << 20


@lru_cache(maxsize=1)
def _version() -> bytes:
    """The digest of the code that makes what is stored: another version of it finds nothing."""
    sha = hashlib.sha256(f"{sys.hexversion} {marshal.version}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest().encode()


class DocumentCache:
    """A memory of what was read.

    Args:
        path: File to keep it in; its folder must exist. None keeps it in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._stored: dict[str, bytes] = {}
        self._facts: dict[str, Any] = {}
        self._fresh: dict[tuple[str, str], ManifestFile] = {}
        self._used: set[str] = set()
        self._dirty = False
        if path is not None:
            self._load(path)

    def get(self, path: str, object_id: str) -> ManifestFile | None:
        """What a file of these bytes held at this path, if it is remembered."""
        fresh = self._fresh.get((path, object_id))
        if fresh is not None:
            return fresh
        key = f"{object_id}\0{path}"
        packed = self._stored.get(key)
        if packed is None:
            return None
        self._used.add(key)
        manifests = tuple(
            Manifest(kind, name, description, tags, spec, Position(path, line, column), Marks(path, marks))
            for kind, name, description, tags, spec, line, column, marks in marshal.loads(packed)  # noqa: S302
        )
        return ManifestFile(path, object_id, manifests)

    def put(self, file: ManifestFile) -> None:
        """Remembers a file; one with problems only in memory, so that its report is always made by this version."""
        self._fresh[file.path, file.object_id] = file
        if self._path is None or file.problems:
            return
        key = f"{file.object_id}\0{file.path}"
        self._stored[key] = marshal.dumps(
            [
                (
                    m.kind,
                    m.name,
                    m.description,
                    dict(m.tags),
                    m.spec,
                    m.position.line,
                    m.position.column,
                    cast("Marks", m.marks).packed,
                )
                for m in file.manifests
            ]
        )
        self._used.add(key)
        self._dirty = True

    def laid(self, place: str) -> dict[str, Any] | None:
        """The `spec` of a document with an overlay, by the place and content of both."""
        packed = self._stored.get(place)
        if packed is None:
            return None
        self._used.add(place)
        return cast("dict[str, Any]", marshal.loads(packed))  # noqa: S302

    def put_laid(self, place: str, spec: Mapping[str, Any]) -> None:
        """Remembers the `spec` of a document with an overlay."""
        self._stored[place] = marshal.dumps(dict(spec))
        self._used.add(place)
        self._dirty = True

    def fact(self, name: str, key: str) -> Any:
        """Something found out before, or None; see `core.memory.Facts`."""
        return self._facts.get(f"{name}\0{key}")

    def remember(self, name: str, key: str, value: Any) -> None:
        """Remembers a plain value."""
        self._facts[f"{name}\0{key}"] = value
        self._dirty = True

    def save(self) -> None:
        """Writes it to its file if something is new, in one step; a full or read-only disk is no error."""
        if self._path is None or not self._dirty:
            return
        stored = self._stored
        if len(stored) > 2 * len(self._used) + 1000:
            stored = {key: stored[key] for key in self._used if key in stored}
        body = marshal.dumps((stored, self._facts))
        head = _MAGIC + _version() + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"
        try:
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(head + body)
                Path(name).replace(self._path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return
        self._dirty = False

    def _load(self, path: Path) -> None:
        try:
            info = path.stat()
            if info.st_uid != os.getuid() or info.st_mode & 0o022 or info.st_size > _MOST_BYTES:
                return
            data = path.read_bytes()
        except OSError:
            return
        head = _MAGIC + _version() + b"\n"
        start = len(head) + 65
        if not data.startswith(head):
            return
        body = memoryview(data)[start:]
        if hashlib.sha256(body).hexdigest().encode() != data[len(head) : start - 1]:
            return
        stored, facts = cast("tuple[dict[str, bytes], dict[str, Any]]", marshal.loads(body))  # noqa: S302
        self._stored, self._facts = stored, facts
