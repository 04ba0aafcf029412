"""Git LFS: recognising pointers, and getting the file that one stands for.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from reconciler.core.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer says about its file.

    Args:
        sha256: 64 hex digits over the file's bytes.
        size: Bytes.
    """

    sha256: str
    size: int

    # "Pointer files must be less than 1024 bytes" (spec.md, The Pointer).
    MAX_BYTES: ClassVar[int] = 1024
    _FORM: ClassVar[re.Pattern[bytes]] = re.compile(
        rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n"
        rb"(?:ext-\d-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n?\Z"
    )

    @classmethod
    def parse(cls, data: bytes) -> Pointer | None:
        """The pointer that the bytes of a file are, or None if they are anything else."""
        match = cls._FORM.match(data) if len(data) <= cls.MAX_BYTES else None
        return cls(match[1].decode(), int(match[2])) if match else None

    def format(self) -> bytes:
        """The bytes of the pointer file."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()


def stored(git_folder: Path, pointer: Pointer) -> Path:
    """Where Git LFS keeps the file in a repository (`git lfs env`, LocalMediaDir)."""
    return git_folder / "lfs" / "objects" / pointer.sha256[:2] / pointer.sha256[2:4] / pointer.sha256


def open_object(repository: str, pointer: Pointer, *, timeout: float) -> BinaryIO:
    """A stream over a pointer's file, from the repository's LFS store or fetched by git-lfs.

    The bytes are not verified here: the caller hashes them anyway and knows the digest from the pointer.

    Args:
        repository: The repository's Git folder (the common one of a worktree).

    Raises:
        UnavailableError: It is not here and cannot be fetched.
    """
    path = stored(Path(repository), pointer)
    if path.is_file() and path.stat().st_size == pointer.size:
        return path.open("rb")
    raise UnavailableError(
        f"the Git LFS object {pointer.sha256[:12]} ({pointer.size:,} bytes) is not in {repository}",
        hint="run `git lfs fetch --all` in the repository",
    )
