"""An encrypted file of the repo as anybody can read it: which values it holds, and what they are encrypted for."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.dataclass import dataclass, field


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file that sops encrypted.

    Args:
        format: `yaml` or `json`.
        values: JSON pointer -> digest of the encrypted value (16 hex digits); "" for a value in plain text.
        keys: Kinds of key that it was encrypted for, as sops names them (`age`, `pgp`, `azure_kv` …).
        vaults: URLs of the key vaults among them.
    """

    format: str
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    keys: tuple[str, ...] = ()
    vaults: tuple[str, ...] = ()
