"""A model's bytes by digest: of a file, of a folder, or as a Git LFS pointer names them."""

from __future__ import annotations

import hashlib
import re

from reconciler.core.contents import Contents
from reconciler.core.dataclass import dataclass
from reconciler.core.values import digest
from reconciler.manifests.cache import DocumentCache

_CHUNK = 1 << 20
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: under 1024 bytes, first line the version, keys sorted.
_LFS_MOST_BYTES = 1024
_LFS_VERSION = b"version https://git-lfs.github.com/spec/v1\n"
_LFS_OID = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)
_LFS_SIZE = re.compile(rb"^size ([0-9]{1,18})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file or folder holds.

    Args:
        digest: `sha256:<64 hex>`; see `folder_digest` for folders.
        lfs: It is a Git LFS pointer, or holds one; digest and size are those of the bytes it names.
    """

    digest: str
    size: int
    lfs: bool = False


def folder_digest(files: list[tuple[str, str]]) -> str:
    """The digest of a folder: SHA-256 of the canonical JSON of its sorted `[path, sha256 as 64 hex]` pairs."""
    return "sha256:" + digest([[path, sha] for path, sha in sorted(files)])


def content_of(contents: Contents, object_id: str, *, folder: bool, cache: DocumentCache | None = None) -> Content:
    """Digest and size of a model's bytes, streamed once and remembered by Git's id.

    Raises:
        InvalidError: The object is not there, or a link leaves the folder.
        FileNotFoundError: The folder holds no file.
    """
    known = cache.fact("content", object_id) if cache is not None else None
    if known is not None:
        return Content(*known)
    if not folder:
        content = _file(contents, object_id)
    else:
        parts = [
            (entry.path, content_of(contents, entry.object_id, folder=False)) for entry in contents.files(object_id)
        ]
        if not parts:
            raise FileNotFoundError("the folder holds no file")
        content = Content(
            folder_digest([(path, part.digest.removeprefix("sha256:")) for path, part in parts]),
            sum(part.size for _, part in parts),
            any(part.lfs for _, part in parts),
        )
    if cache is not None:
        cache.remember("content", object_id, (content.digest, content.size, content.lfs))
    return content


def _file(contents: Contents, object_id: str) -> Content:
    sha, size = hashlib.sha256(), 0
    with contents.open(object_id) as stream:
        first = chunk = stream.read(_CHUNK)
        while chunk:
            sha.update(chunk)
            size += len(chunk)
            chunk = stream.read(_CHUNK)
    if size < _LFS_MOST_BYTES and first.startswith(_LFS_VERSION):
        oid, length = _LFS_OID.search(first), _LFS_SIZE.search(first)
        if oid and length:
            return Content(f"sha256:{oid[1].decode()}", int(length[1]), lfs=True)
    return Content(f"sha256:{sha.hexdigest()}", size)
