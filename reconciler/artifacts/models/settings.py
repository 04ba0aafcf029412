"""What the operator lets the model registry do."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Limits and permissions of the registry.

    Args:
        file_folders: Folders in which `file:` URIs may lie; none by default.
        uri_prefixes: Other URIs must start with one of these.
        max_bytes: Of one model version.
        max_files: Of one folder.
        connect_timeout, read_timeout: Seconds, of HTTP transfers; reading counts from one block to the next.
        attempts: How often a broken transfer is continued before it counts as failed.
        patience: Seconds that a change may take before its answer is "in progress".
        deadline: Seconds after which a transfer counts as failed.
        parallel: Transfers at once.
        retain_seconds: How long an unused version is kept.
        check_seconds: How long the answer of an address is believed.
    """

    file_folders: tuple[Path, ...] = ()
    uri_prefixes: tuple[str, ...] = ("https://",)
    max_bytes: int = 1 << 40
    max_files: int = 100_000
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    attempts: int = 5
    patience: float = 2.0
    deadline: float = 6 * 3600.0
    parallel: int = 4
    retain_seconds: float = 7 * 86400.0
    check_seconds: float = 60.0
