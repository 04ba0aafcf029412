"""The standard streams as a command needs them: all three there, written whole, able to say everything."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TextIO

from reconciler.core.errors import InvalidError


class UnwrittenError(InvalidError):
    """What standard output leads to does not take the result."""


def settle() -> None:
    """Puts the streams in order, whatever the caller and the environment made of them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The caller closed it. In this order each gets the missing descriptor, and no file opened later does.
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  open to the end
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        # PYTHONUNBUFFERED: Python would write once, and take no notice of what did not fit.
        sys.stdout = open(sys.stdout.fileno(), "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Documents are UTF-8, whatever the locale, so that equal plans are equal bytes; a terminal gets its own.
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def unwritten(error: OSError) -> UnwrittenError:
    """That a result could not be written, in words."""
    return UnwrittenError(
        f"the result cannot be written: {error.strerror}", hint="see where standard output leads to, and the disk"
    )


def discard(stream: TextIO) -> None:
    """Lets go of what is still buffered, which must not fail again when Python closes the stream."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
