"""Where things are: the state directory and the repository around the current folder."""

from __future__ import annotations

import os
from pathlib import Path


def state_dir(given: str | Path | None) -> Path:
    """The state directory: as given, else RECONCILER_STATE_DIR, else `reconciler` in the XDG state home.

    XDG Base Directory Specification 0.8: relative values of XDG_STATE_HOME are ignored.
    """
    if given:
        return Path(given).expanduser().absolute()
    named = os.environ.get("RECONCILER_STATE_DIR")
    if named:
        return Path(named).expanduser().absolute()
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if home.startswith("/") else Path("~/.local/state").expanduser()
    return base / "reconciler"


def surrounding_repo(folder: Path) -> Path:
    """The root of the Git repository around a folder; the folder itself where there is none."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return folder
