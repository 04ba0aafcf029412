"""How a command ends that could not do what it was asked: one place prints every error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.core.errors import InvalidError, PlanChangedError, ReconcilerError
from reconciler.views import problems as problem_view
from reconciler.views.values import paragraph

_TELLING = ("PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL")
_SHORTEST_SECRET = 6


def report(error: ReconcilerError, console: Console) -> int:
    """Prints an error that is meant for people; returns its exit code."""
    style = console.error_style
    found = list(error.problems) if isinstance(error, InvalidError) else []
    if console.output == "json":
        console.json(as_json(error))
    for line in problem_view.text(found, style):
        console.note(line)
    first, *rest = paragraph(error.message)
    console.note(f"{style.paint('error:', 'red', 'bold')} {first}")
    for line in [*rest, *(paragraph(error.hint) if error.hint else [])]:
        console.note(f"  {line}")
    cause = error.__cause__
    while cause is not None:
        told = scrub(f"{type(cause).__name__}: {cause}", os.environ)
        console.detail(f"  caused by {paragraph(told)[0]}")
        cause = cause.__cause__
    return error.exit_code


def as_json(error: ReconcilerError) -> dict[str, Any]:
    """An error as an object."""
    found = error.problems if isinstance(error, InvalidError) else ()
    return {
        "kind": "Error",
        "code": error.code,
        "exitCode": error.exit_code,
        "message": error.message,
        "hint": error.hint,
        "problems": problem_view.as_json(found),
        **({"differences": list(error.differences)} if isinstance(error, PlanChangedError) else {}),
    }


def unexpected(error: BaseException, console: Console, state_dir: Path) -> int:
    """A fault of ours: one line, and the traceback in a file that others cannot read."""
    what = scrub(f"{type(error).__name__}: {error}".splitlines()[0], os.environ)
    where = _write_traceback(error, state_dir)
    style = console.error_style
    if console.output == "json":
        console.json({"kind": "Error", "code": "internal", "exitCode": exits.INTERNAL, "message": what})
    console.note(f"{style.paint('internal error:', 'red', 'bold')} {paragraph(what)[0]}")
    console.note(
        f"  this is a fault of reconciler; the traceback is in {where}" if where else "  (no traceback written)"
    )
    return exits.INTERNAL


def _write_traceback(error: BaseException, state_dir: Path) -> Path | None:
    import time
    import traceback

    text = scrub("".join(traceback.format_exception(error)), os.environ)
    for folder in (state_dir / "crashes", _temporary()):
        path = folder / f"reconciler-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
        try:
            if folder.parent == state_dir:
                state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
        except OSError:
            continue
        return path
    return None


def _temporary() -> Path:
    import tempfile

    return Path(tempfile.gettempdir())


def scrub(text: str, environment: Mapping[str, str]) -> str:
    """Text without what looks like a secret: credentials in URLs, keys, and values of variables named like secrets."""
    import re

    text = re.sub(r"(://)[^/\s@]+@", r"\1***@", text)
    text = re.sub(r"(?i)(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", r"\1 ***", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "***", text)
    for name, value in environment.items():
        if len(value) >= _SHORTEST_SECRET and any(word in name.upper() for word in _TELLING):
            text = text.replace(value, "***")
    return text
