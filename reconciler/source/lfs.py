"""Git LFS: recognising pointers, and getting the file that one stands for.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, ClassVar

from reconciler.core.dataclass import dataclass, replace
from reconciler.core.errors import UnavailableError
from reconciler.source.command import Git, last_line


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


@dataclass(frozen=True, slots=True)
class LargeFiles:
    """The files behind a repository's pointers.

    Args:
        git: Git in the repository, with its credentials.
        folder: The repository's Git folder (the common one of worktrees).
        url: Where to fetch from; "" leaves that to the repository's own settings.
        timeout: Seconds that fetching one file may take.
    """

    git: Git
    folder: Path
    url: str = ""
    timeout: float = 3600.0

    def path(self, pointer: Pointer) -> Path:
        """Where Git LFS keeps a file (`git lfs env`, LocalMediaDir)."""
        return self.folder / "lfs" / "objects" / pointer.sha256[:2] / pointer.sha256[2:4] / pointer.sha256

    def open(self, pointer: Pointer) -> BinaryIO:
        """A stream over a pointer's file, fetched by git-lfs if it is not here.

        The bytes are not verified here: who reads them hashes them anyway and knows the digest from the pointer.

        Raises:
            UnavailableError: It is not here and cannot be fetched; the hint says what to install or to run.
        """
        path = self.path(pointer)
        if not self._held(pointer):
            self._fetch(pointer)
        if not self._held(pointer):
            raise UnavailableError(f"git-lfs fetched {pointer.sha256[:12]}, but it is not at {path}")
        return path.open("rb")

    def _held(self, pointer: Pointer) -> bool:
        path = self.path(pointer)
        return path.is_file() and path.stat().st_size == pointer.size

    def _fetch(self, pointer: Pointer) -> None:
        name = f"the Git LFS file {pointer.sha256[:12]} ({pointer.size:,} bytes)"
        config = {**self.git.config, "lfs.skipdownloaderrors": "false"}
        if self.url:
            config["remote.origin.url"] = self.url
        git = replace(self.git, config=config)
        if git.run("lfs", "version").code != 0:
            raise UnavailableError(
                f"{name} is not in {self.folder}, and git-lfs is not installed to fetch it",
                hint="install git-lfs on the machine that runs the daemon (apt install git-lfs, brew install git-lfs)",
            )
        told = git.run("lfs", "smudge", timeout=self.timeout, given=pointer.format(), discard=True)
        if told.code != 0:
            raise UnavailableError(
                f"{name} cannot be fetched: {last_line(told.error)}",
                hint="see that it was pushed (git lfs push --all origin) and that the LFS server can be reached",
            )
