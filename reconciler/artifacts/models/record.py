"""A registered version's index file: what was registered, whose it is, and where its bytes are."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from reconciler.artifacts.models.content import Part, sync_folder
from reconciler.artifacts.models.render import split_name
from reconciler.core.dataclass import dataclass, field
from reconciler.core.deployment import MODELS_TARGET
from reconciler.core.resources import Mark, ResourceId
from reconciler.core.values import from_json, to_json

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One registered version.

    Args:
        spec: As it was last applied.
        folder: The model is a folder.
        origin: What the source said when the bytes were fetched: `etag`, `lastModified`, `size`, `mtimeNs`.
        version: Of the index file itself: the precondition of writes.
    """

    id: ResourceId
    spec: Mapping[str, Any]
    mark: Mark
    digest: str
    parts: tuple[Part, ...]
    folder: bool = False
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])
    version: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(part.size for part in self.parts)

    @property
    def file_name(self) -> str:
        """The last part of its path or URI: what the entry script finds below the version's folder."""
        source = cast("Mapping[str, Any]", self.spec.get("source") or {})
        origin = str(source.get("path") or str(source.get("uri") or "").split("?")[0])
        return origin.rstrip("/").rsplit("/", 1)[-1] or "model"

    def to_bytes(self) -> bytes:
        """The index file."""
        data = {
            "format": FORMAT,
            "spec": to_json(self.spec),
            "mark": self.mark.to_json(),
            "digest": self.digest,
            "folder": self.folder,
            "files": [[p.path, p.sha256, p.size, p.executable] for p in self.parts],
            "origin": dict(self.origin),
        }
        return json.dumps(data, ensure_ascii=False, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Damaged:
    """An index file that cannot be used, with the reason."""

    id: ResourceId
    reason: str
    version: str = ""


class RecordStore:
    """The index files: `versions/<name>/<version>.json`. Unchanged files are parsed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = root / "versions"
        self._known: dict[Path, tuple[tuple[int, int, int], Record | Damaged]] = {}

    def path(self, resource: ResourceId) -> Path | None:
        """Where a version's index file lies, or None for a name that no version can have."""
        parts = split_name(resource.name)
        return self._folder / parts[0] / f"{parts[1]}.json" if parts else None

    def get(self, resource: ResourceId) -> Record | Damaged | None:
        """A version, if its index file is there."""
        path = self.path(resource)
        if path is None:
            return None
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._load(path, resource, status)

    def all(self) -> tuple[list[Record | Damaged], list[str]]:
        """Every version, sorted by name, and the paths of files that are none.

        Raises:
            OSError: The store cannot be read.
        """
        found: list[Record | Damaged] = []
        strays: list[str] = []
        seen: dict[Path, tuple[tuple[int, int, int], Record | Damaged]] = {}
        for folder in _scan(self._folder):
            if not folder.is_dir(follow_symlinks=False):
                strays.append(folder.path)
                continue
            for entry in _scan(Path(folder.path)):
                name = f"{folder.name}:{entry.name.removesuffix('.json')}"
                if entry.name.startswith("."):
                    continue
                if not entry.name.endswith(".json") or split_name(name) is None:
                    strays.append(entry.path)
                    continue
                path = Path(entry.path)
                record = self._load(path, ResourceId(MODELS_TARGET, "model", name), entry.stat(follow_symlinks=False))
                found.append(record)
                if path in self._known:
                    seen[path] = self._known[path]
        self._known = seen
        found.sort(key=lambda record: record.id)
        return found, strays

    def put(self, record: Record) -> Record:
        """Writes an index file, durable and at once; the record with its new version."""
        path = self.path(record.id)
        assert path is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}-{secrets.token_hex(4)}"
        data = record.to_bytes()
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
        sync_folder(self._folder)
        stored = self.get(record.id)
        assert isinstance(stored, Record)
        return stored

    def remove(self, resource: ResourceId) -> None:
        """Removes an index file, if it is there."""
        path = self.path(resource)
        if path is None or not path.exists():
            return
        path.unlink()
        sync_folder(path.parent)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()

    def _load(self, path: Path, resource: ResourceId, status: os.stat_result) -> Record | Damaged:
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        record = _read(path, resource)
        self._known[path] = (stamp, record)
        return record


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return


def _read(path: Path, resource: ResourceId) -> Record | Damaged:
    try:
        raw = path.read_bytes()
    except OSError as error:
        return Damaged(resource, f"its index file {path} cannot be read: {error.strerror}")
    version = hashlib.sha256(raw).hexdigest()[:16]
    try:
        data = cast("dict[str, Any]", json.loads(raw))
        if data["format"] != FORMAT:
            return Damaged(resource, f"its index file {path} has format {data['format']}, not {FORMAT}", version)
        return Record(
            resource,
            cast("dict[str, Any]", from_json(data["spec"])),
            Mark.from_json(data["mark"]),
            str(data["digest"]),
            tuple(Part(str(p), str(s), int(z), bool(x)) for p, s, z, x in data["files"]),
            bool(data["folder"]),
            dict(data["origin"]),
            version,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Damaged(resource, f"its index file {path} is damaged ({type(error).__name__})", version)
