"""Azure ML's v1 folder of models, made of hard links: what an entry script finds below AZUREML_MODEL_DIR.

Layout: https://learn.microsoft.com/azure/machine-learning/v1/how-to-deploy-advanced-entry-script ("Load registered
models"): one model gives `azureml-models/<name>/<version>`, several give `azureml-models`.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from reconciler.artifacts.models.content import ContentStore, Part

FOLDER = "azureml-models"


def lay_out(store: ContentStore, files: Mapping[str, Part], root: Path) -> Path:
    """Makes `root/azureml-models` hold exactly these files; done at once, or not at all.

    Args:
        files: By path below `azureml-models`.
    """
    place = root / FOLDER
    if _holds(store, files, place):
        return place
    root.mkdir(parents=True, exist_ok=True)
    fresh = root / f".{FOLDER}-{secrets.token_hex(4)}"
    old = root / f".{FOLDER}-{secrets.token_hex(4)}"
    try:
        for path, part in files.items():
            target = fresh / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(store.path(part), target)
        fresh.mkdir(exist_ok=True)
        if place.exists():
            place.rename(old)
        fresh.rename(place)
    finally:
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
    return place


def _holds(store: ContentStore, files: Mapping[str, Part], place: Path) -> bool:
    found: dict[str, Path] = {}
    for folder, _, names in os.walk(place):
        for name in names:
            full = Path(folder) / name
            found[full.relative_to(place).as_posix()] = full
    return found.keys() == files.keys() and all(_same(store.path(part), found[path]) for path, part in files.items())


def _same(stored: Path, there: Path) -> bool:
    try:
        left, right = stored.stat(), there.lstat()
    except OSError:
        return False
    if left.st_dev == right.st_dev and left.st_ino == right.st_ino:
        return True
    # A copy, on another file system: it kept the time stamp.
    return left.st_dev != right.st_dev and (left.st_size, left.st_mtime_ns) == (right.st_size, right.st_mtime_ns)


def _link(stored: Path, target: Path) -> None:
    try:
        os.link(stored, target)
    except OSError:
        # Another file system, or one without hard links, or too many of them: a copy serves as well.
        shutil.copy2(stored, target)
