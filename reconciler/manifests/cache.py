"""What has been read before, by the id of its bytes: validated documents, and facts about other content.

In memory always, and on disk where a path is given. What is on disk is a memory only: if it is missing, of another
version or damaged it is made anew, and of two processes that write it at once the last one's stays. It is trusted like
the program itself and so is readable for its owner alone.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from reconciler.manifests.packing import pack, unpack
from reconciler.manifests.repo import ManifestFile

_MAGIC = b"reconciler documents\n"
_MOST_BYTES = 512 << 20
_PACKAGE = Path(__file__).parent.parent
# Whose code makes what is remembered.
_MAKERS = ("core", "manifests", "manifests/kinds", "manifests/overlays", "artifacts/environments")
# So much more than was used may stay for other branches and repos.
_SPARE = 1000
_MOST_FRESH = 100_000


@lru_cache(maxsize=1)
def _version() -> bytes:
    """The digest of the code that makes what is stored: another version of it finds nothing."""
    sha = hashlib.sha256(f"{sys.hexversion} {marshal.version}".encode())
    for folder in _MAKERS:
        for name in sorted(os.listdir(_PACKAGE / folder)):  # noqa: PTH208 - in every run, and three times as fast
            if name.endswith(".py"):
                with open(f"{_PACKAGE}/{folder}/{name}", "rb", buffering=0) as stream:  # noqa: PTH123
                    sha.update(stream.readall())
    return sha.hexdigest().encode()


class DocumentCache:
    """A memory of what was read; implements `core.memory.Facts`, too.

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
        return unpack(path, object_id, packed)

    def put(self, file: ManifestFile) -> None:
        """Remembers a file; one with problems only in memory, so that its report is always made by this version."""
        if self._path is None or file.problems:
            if len(self._fresh) >= _MOST_FRESH:
                self._fresh.clear()
            self._fresh[file.path, file.object_id] = file
            return
        key = f"{file.object_id}\0{file.path}"
        self._stored[key] = pack(file)
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
        whole = f"{name}\0{key}"
        self._used.add(whole)
        return self._facts.get(whole)

    def remember(self, name: str, key: str, value: Any) -> None:
        """Remembers a plain value."""
        whole = f"{name}\0{key}"
        self._facts[whole] = value
        self._used.add(whole)
        self._dirty = True

    def save(self) -> None:
        """Writes it to its file if something is new, in one step; a full or read-only disk is no error."""
        if self._path is None or not self._dirty:
            return
        body = marshal.dumps((self._worth(self._stored), self._worth(self._facts)))
        head = _MAGIC + _version() + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"
        # Imported here, since a run that found everything remembered writes nothing.
        import tempfile

        try:
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(head)
                    stream.write(body)
                Path(name).replace(self._path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return
        self._dirty = False

    def _worth(self, known: dict[str, Any]) -> dict[str, Any]:
        """What is worth keeping: all of it, until most of it is of other times."""
        used = self._used & known.keys()
        return known if len(known) <= 2 * len(used) + _SPARE else {key: known[key] for key in known if key in used}

    def _load(self, path: Path) -> None:
        try:
            with path.open("rb", buffering=0) as stream:
                info = os.fstat(stream.fileno())
                if info.st_uid != os.getuid() or info.st_mode & 0o022 or info.st_size > _MOST_BYTES:
                    return
                data = stream.readall()
        except OSError:
            return
        head = _MAGIC + _version() + b"\n"
        start = len(head) + 65
        if not data.startswith(head):
            return
        body = memoryview(data)[start:]
        if hashlib.sha256(body).hexdigest().encode() != data[len(head) : start - 1]:
            return
        self._stored, self._facts = cast("tuple[dict[str, bytes], dict[str, Any]]", marshal.loads(body))  # noqa: S302
