"""Who uses an environment right now: what keeps it from being deleted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def processes_using(folder: Path, proc: Path = Path("/proc")) -> Sequence[str]:
    """The processes whose command lies in a folder, as `process 4711`; none where there is no /proc to read."""
    prefix = f"{folder}/".encode()
    found: list[str] = []
    for entry in proc.glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(argument.startswith(prefix) for argument in arguments[:3]):
            found.append(f"process {entry.name}")
    return sorted(found)
