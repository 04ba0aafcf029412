"""Documents as bytes: what is remembered of a file without problems, and handed from one process to another."""

from __future__ import annotations

import marshal
from typing import cast

from reconciler.core.problems import Position
from reconciler.manifests.document import Marks
from reconciler.manifests.repo import Manifest, ManifestFile


def pack(file: ManifestFile) -> bytes:
    """The documents of a file as bytes of this version of Python and of this program."""
    return marshal.dumps(
        [
            (m.kind, m.name, m.description, dict(m.tags), m.spec, cast("Marks", m.marks).kept, m.sealed, m.moved_from)
            for m in file.manifests
        ]
    )


def unpack(path: str, object_id: str, packed: bytes) -> ManifestFile:
    """The file whose documents were packed."""
    manifests = tuple(
        [
            Manifest(kind, name, description, tags, spec, Position(path, *marks[:2]), Marks(path, *marks), *more)
            for kind, name, description, tags, spec, marks, *more in marshal.loads(packed)  # noqa: S302
        ]
    )
    return ManifestFile(path, object_id, manifests)
