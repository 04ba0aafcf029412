"""Bearer keys: which digests may score. The file holds digests only, so reading it gives no key away."""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from .errors import StartError

logger = logging.getLogger("reconciler.serving")

_DIGEST = re.compile(r"[0-9a-f]{64}")


def parse(text: str) -> tuple[bytes, ...]:
    """Digests from a key file's text: `{"keys": [{"slot": "primary", "sha256": "<64 hex digits>"}, ...]}`.

    Raises:
        ValueError: it is not such a document. The message never holds what the file holds.
    """
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON (line {getattr(error, 'lineno', '?')})") from None
    entries: Any = cast("dict[str, Any]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('it has no list "keys"')
    digests: list[bytes] = []
    for number, entry in enumerate(cast("list[Any]", entries), 1):
        digest: Any = cast("dict[str, Any]", entry).get("sha256") if isinstance(entry, dict) else None
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest.lower()):
            raise ValueError(f'key {number} has no "sha256" of 64 hexadecimal digits')
        digests.append(bytes.fromhex(digest))
    return tuple(digests)


class Keys:
    """The keys in force. `file` None means that no key is asked for."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._digests: tuple[bytes, ...] = ()
        self._complaint = ""
        self._seen: tuple[int, int, int] | None = None
        if file is not None:
            try:
                self._read(file)
            except (OSError, ValueError) as error:
                raise StartError(f"key file {file} cannot be used: {_why(error)}", exit_code=4) from None

    @property
    def required(self) -> bool:
        """Whether requests need a key."""
        return self.file is not None

    def allows(self, authorization: bytes) -> bool:
        """Whether an Authorization header carries a key in force. Takes the same time whichever key it is."""
        scheme, _, token = authorization.partition(b" ")
        if scheme != b"Bearer" and scheme.lower() != b"bearer":
            return False
        given = sha256(token.strip()).digest()
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(digest, given)
        return found

    def refresh(self, force: bool = False) -> None:
        """Read the file again if it changed. A file that cannot be read or parsed leaves the keys as they are."""
        if self.file is None:
            return
        try:
            if force or self._stamp(self.file) != self._seen:
                self._read(self.file)
                self._complaint = ""
                logger.info("keys read again", extra={"fields": {"keys": len(self._digests)}})
        except (OSError, ValueError) as error:
            why = _why(error)
            if force or why != self._complaint:
                logger.error("key file not usable, keeping the keys in force: %s", why)
            self._complaint = why

    def _read(self, file: Path) -> None:
        seen = self._stamp(file)
        if seen != self._seen and self._open_to_others(file):
            logger.warning("key file %s can be read by others; set its mode to 0600", file)
        self._seen = seen
        self._digests = parse(file.read_text("utf-8"))

    @staticmethod
    def _open_to_others(file: Path) -> bool:
        status = file.stat()
        # What is not ours, as in a Kubernetes volume, we read by its group.
        ours = status.st_uid == os.geteuid()
        return bool(status.st_mode & (stat.S_IRWXO | (stat.S_IRWXG if ours else stat.S_IWGRP)))

    @staticmethod
    def _stamp(file: Path) -> tuple[int, int, int]:
        status = file.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size


def _why(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
