"""What the operator decides about environments: indexes, which Pythons, limits."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    """The operator's settings for building environments.

    Index addresses may hold credentials: they reach uv through its environment, never its argument list, and are masked
    in every text.

    Args:
        default_index: Address of the package index instead of uv's default.
        extra_indexes: Further indexes, searched before the default one.
        find_links: Folders or pages with wheels.
        no_index: Use `find_links` alone.
        offline: Use uv's cache alone.
        allow_python_override: Replace a Python version that cannot be had, with a warning; False makes it an error.
        interpreters: Further Python executables, preferred in this order.
        config_file: A uv.toml; by default the user's or the machine's. Files beside the state are never read.
        cache_dir: uv's cache; by default uv's own.
        link_mode: How files come from the cache: `hardlink`, `clone`, `copy`, `symlink`.
        resolve_seconds: Longest time for a resolution.
        build_seconds: Longest time for a whole build.
        parallel: How many builds run at once.
    """

    default_index: str = ""
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    offline: bool = False
    allow_python_override: bool = True
    interpreters: tuple[Path, ...] = ()
    config_file: Path | None = None
    cache_dir: Path | None = None
    link_mode: str = "hardlink"
    resolve_seconds: float = 300.0
    build_seconds: float = 1800.0
    parallel: int = 2
