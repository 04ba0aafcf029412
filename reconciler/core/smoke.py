"""The tests a service declares for itself: requests a version must answer before traffic moves to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """One request that a new version must answer before traffic moves to it.

    Args:
        request: JSON body; None with `body` set sends those bytes.
        expect: JSON-like expectation, validated by the manifests: `status`, `equals`, `shape`, `contains`,
            `tolerance`, `maxSeconds` (all optional).
    """

    name: str
    request: Any = None
    body: str | None = None
    content_type: str = "application/json"
    method: str = "POST"
    path: str = "/score"
    expect: Mapping[str, Any] = field(default_factory=dict[str, Any])
