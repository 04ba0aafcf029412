"""Key files of services: digests alone, so that reading one gives no key away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from reconciler.core.errors import TerminalError
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import Spec

# Before the digest in the fingerprint of a key that somebody else wrote.
_WRITTEN_BY_HAND = "sha256:"


def key_digests(reveal: Callable[[Secret | SecretRef], str], spec: Spec) -> list[dict[str, str]] | None:
    """What the runtime checks keys against: SHA-256 digests by slot; None if no key is asked for.

    Raises:
        TerminalError: There are none, since somebody took them away and the policy leaves them as they are.
    """
    auth = cast("Mapping[str, Any]", spec.get("auth") or {})
    if not auth.get("enabled"):
        return None
    keys = cast("Mapping[str, Secret | SecretRef] | None", auth.get("keys"))
    if keys is None:
        raise TerminalError(
            "the key file was changed by hand and cannot be read, and the policy leaves keys as they are",
            hint="take /auth/keys out of the policy's `ignore` and `report`, so that the keys are written anew",
        )
    return [{"slot": slot, "sha256": _digest_of(reveal, key)} for slot, key in sorted(keys.items())]


def by_digest(digest: str) -> Secret:
    """A key of which nothing is known but its SHA-256 digest: enough to compare it, and to keep it as it is."""
    return Secret(f"{_WRITTEN_BY_HAND}{digest}")


def _digest_of(reveal: Callable[[Secret | SecretRef], str], key: Secret | SecretRef) -> str:
    if isinstance(key, Secret) and key.text is None and key.fingerprint.startswith(_WRITTEN_BY_HAND):
        return key.fingerprint.removeprefix(_WRITTEN_BY_HAND)
    return hashlib.sha256(reveal(key).encode()).hexdigest()
