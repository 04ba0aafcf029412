"""Secrets as types: never printed, compared by a keyed fingerprint, shown as changed without being shown.

The key belongs to the installation (its identity file), so fingerprints say nothing outside of it.
"""

from __future__ import annotations

import hashlib

from reconciler.core.dataclass import dataclass, field


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret's value is to be found; itself harmless to print.

    Args:
        source: `env`, `file`, `keyVault`, `sops` or `generated`.
        name: The variable; the path; `vault/secret` or `vault/secret/version`; `path#/pointer` into a file of the
            repo; `service/slot`.
        digest: What tells two values apart without reading either: of the encrypted value, where that is in the repo.
        object_id: Git's id of that file.
    """

    source: str
    name: str
    digest: str = ""
    object_id: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret whose value is known by its fingerprint, and only at the edge by its text.

    Equality is that of fingerprints, so a stored one (without text) equals the one it was stored from.
    """

    fingerprint: str
    ref: SecretRef | None = field(default=None, compare=False)
    text: str | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return "(sensitive)"

    def __repr__(self) -> str:
        return f"Secret({self.fingerprint[:8]}…)"

    def reveal(self) -> str:
        """The text itself, for the one call that hands it to a target.

        Raises:
            ValueError: The text is not here, as in a secret read back from the store.
        """
        if self.text is None:
            raise ValueError("the text of this secret is not at hand")
        return self.text


def fingerprint(key: bytes, text: str) -> str:
    """A keyed digest of a secret: 32 hex digits of HMAC-SHA256 under the installation's key."""
    import hmac

    return hmac.new(key, b"fingerprint\0" + text.encode(), hashlib.sha256).hexdigest()[:32]


def seal(key: bytes, text: str, ref: SecretRef | None = None) -> Secret:
    """A secret from its text."""
    return Secret(fingerprint(key, text), ref, text)


def generated_key(key: bytes, service: str, slot: str, rotation: int) -> str:
    """A service key that a lost store cannot lose: HMAC of service, slot and rotation counter, 64 hex digits."""
    import hmac

    message = f"service-key\0{service}\0{slot}\0{rotation}".encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()
