"""Fetching through fsspec, which knows object stores and many other places (the optional extra `fsspec`)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from reconciler.artifacts.models.content import Fetched, Part
from reconciler.core.errors import AccessError, TerminalError, UnavailableError

_FACTS = {"ETag": "etag", "etag": "etag", "size": "size", "mtime": "mtime", "LastModified": "lastModified"}


def fetch_by_fsspec(uri: str, keep: Callable[[str, BinaryIO, bool, int | None], Part], max_files: int) -> Fetched:
    """Brings a file or folder into the store.

    Args:
        keep: Stores one stream under a path.

    Raises:
        TerminalError: fsspec or the scheme's package is missing, or there is nothing at the address.
        AccessError, UnavailableError: The store refuses or fails.
    """
    system, path = _system(uri)
    with _mapped(uri):
        info = cast("dict[str, Any]", system.info(path))
        if info.get("type") != "directory":
            with system.open(path, "rb") as stream:
                part = keep("", stream, False, _size(info))
            return Fetched((part,), False, _origin(info))
        names = cast("list[str]", sorted(system.find(path)))
        if len(names) > max_files:
            raise TerminalError(f"{uri} holds more than {max_files:,} files")
        parts: list[Part] = []
        root = str(system._strip_protocol(path)).rstrip("/")
        for name in names:
            relative = name[len(root) :].lstrip("/")
            if not relative or ".." in relative.split("/"):
                raise TerminalError(f"{uri} lists {name!r}, which is not below it")
            with system.open(name, "rb") as stream:
                parts.append(keep(relative, stream, False, None))
    if not parts:
        raise TerminalError(f"{uri} is an empty folder")
    return Fetched(tuple(parts), True)


def ask_fsspec(uri: str) -> dict[str, Any]:
    """What the store says of a file; nothing of a folder.

    Raises:
        TerminalError, AccessError, UnavailableError: As for fetching.
    """
    system, path = _system(uri)
    with _mapped(uri):
        # Some stores keep listings; what is asked for is what is there now.
        system.invalidate_cache()
        info = cast("dict[str, Any]", system.info(path))
    return {} if info.get("type") == "directory" else _origin(info)


@contextmanager
def _mapped(uri: str) -> Generator[None]:
    """Errors of file systems as ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise TerminalError(f"{uri} is not there") from error
    except PermissionError as error:
        raise AccessError(f"{uri} may not be read") from error
    except (OSError, RuntimeError) as error:
        raise UnavailableError(f"{uri} cannot be read: {type(error).__name__}") from error


def _system(uri: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    scheme = uri.split(":", 1)[0]
    if "::" in uri:
        raise TerminalError(f"{uri} chains file systems, which is not allowed")
    try:
        fsspec: Any = importlib.import_module("fsspec")
    except ImportError as error:
        raise TerminalError(f"{scheme}: addresses need fsspec", hint="pip install 'reconciler[fsspec]'") from error
    try:
        system, path = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise TerminalError(f"{scheme}: addresses need a package more: {error}") from error
    except ValueError as error:
        raise TerminalError(f"{uri}: {error}") from error
    return system, path


def _size(info: dict[str, Any]) -> int | None:
    size = info.get("size")
    return int(size) if isinstance(size, int) else None


def _origin(info: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, name in _FACTS.items():
        if info.get(key) is not None:
            found[name] = info[key] if isinstance(info[key], (int, float)) else str(info[key])
    return found
