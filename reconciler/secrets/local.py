"""Secrets of the machine the reconciler runs on: its environment variables and files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from reconciler.core.errors import InvalidError, RefusedError
from reconciler.secrets.scope import Scope

MAX_SECRET_BYTES = 64 * 1024


def from_env(scope: Scope, name: str) -> str:
    """The value of a variable.

    Raises:
        RefusedError: It is not allowed. InvalidError: It is not set.
    """
    if not any(name.startswith(prefix) for prefix in scope.env_prefixes):
        raise RefusedError(f"the operator's settings do not allow environment variable {name} (secrets.envPrefixes)")
    if name not in scope.environment:
        raise InvalidError(f"environment variable {name} is not set where the reconciler runs")
    return scope.environment[name]


def from_file(scope: Scope, name: str) -> str:
    """The text of a file, without the line break at its end.

    Raises:
        RefusedError: It does not lie in an allowed folder. InvalidError: It cannot be read.
    """
    try:
        real = Path(name).resolve()
    except (OSError, ValueError, RuntimeError) as exc:
        raise InvalidError(f"secret file {name} cannot be read: {_reason(exc)}") from exc
    # Before anything else is said of it: whether a file is there is not everybody's to know.
    if not any(real.is_relative_to(folder.resolve()) for folder in scope.folders):
        raise RefusedError(f"the operator's settings do not allow secret file {name} (secrets.folders)")
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for its other end.
        with os.fdopen(os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidError(f"secret file {name} is not a regular file")
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as exc:
        raise InvalidError(f"secret file {name} cannot be read: {_reason(exc)}") from exc
    if len(data) > MAX_SECRET_BYTES:
        raise InvalidError(f"secret file {name} is larger than {MAX_SECRET_BYTES} bytes")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        # Not chained: the exception holds the bytes.
        raise InvalidError(f"secret file {name} is not UTF-8 text") from None


def _reason(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or "it is no path"
