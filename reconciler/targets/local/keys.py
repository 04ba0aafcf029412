"""Key files of services: digests alone, so that reading one gives no key away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import Spec


def key_digests(reveal: Callable[[Secret | SecretRef], str], spec: Spec) -> list[dict[str, str]] | None:
    """What the runtime checks keys against: SHA-256 digests by slot; None if no key is asked for."""
    auth = cast("Mapping[str, Any]", spec.get("auth") or {})
    if not auth.get("enabled"):
        return None
    keys = cast("Mapping[str, Secret | SecretRef]", auth.get("keys") or {})
    return [
        {"slot": slot, "sha256": hashlib.sha256(reveal(key).encode()).hexdigest()} for slot, key in sorted(keys.items())
    ]
