"""Model files of another scikit-learn version: a message that names both versions instead of a riddle."""

from __future__ import annotations

import logging
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from .errors import StartError
from .settings import Script

logger = logging.getLogger("reconciler.serving")

# In a pickle the key is followed by a few opcodes and the version as a short string (protocols 2 to 5).
_VERSION = re.compile(rb"_sklearn_version.{0,12}?(\d+\.\d+(?:\.\d+)*(?:\.?(?:dev|rc|post)\d+)?)", re.DOTALL)
_SUSPECT = re.compile(r"sklearn|unpickl|incompatible dtype|__setstate__|numpy\.core|numpy\._core", re.IGNORECASE)
SCAN_BYTES = 64 * 1024 * 1024
SCAN_FILES = 200


def watch() -> list[str]:
    """Turn scikit-learn's version warnings into our own words; returns the list that they are added to.

    Call it inside `warnings.catch_warnings()`.
    """
    notes: list[str] = []
    show = warnings.showwarning

    def listen(message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: object) -> None:
        if category.__name__ == "InconsistentVersionWarning" and not isinstance(message, str):
            name = getattr(message, "estimator_name", "a model")
            old = getattr(message, "original_sklearn_version", "another version")
            new = getattr(message, "current_sklearn_version", "this version")
            note = (
                f"{name} was saved with scikit-learn {old} and is loaded with {new}: results may be wrong. "
                f"Pin scikit-learn=={old} in the environment, or save the model again with {new}"
            )
            if note not in notes:
                notes.append(note)
                logger.warning(note)
            return
        show(message, category, filename, lineno)

    warnings.showwarning = listen
    warnings.filterwarnings("always", category=UserWarning, message="Trying to unpickle estimator")
    return notes


def explain(error: StartError, script: Script) -> StartError:
    """The same failure, with the versions in the reason where a model file of another scikit-learn is to blame."""
    cause = error.__cause__
    if cause is None or not _SUSPECT.search(f"{type(cause).__name__} {cause} {error.detail}"):
        return error
    try:
        installed = metadata.version("scikit-learn")
    except metadata.PackageNotFoundError:
        return error
    folder = os.environ.get("AZUREML_MODEL_DIR")
    roots = [Path(folder)] if folder else [script.app_root / "azureml-models", script.app_root]
    for file in _files(roots):
        saved = saved_with(file)
        if saved is not None and saved != installed:
            return StartError(
                f"{error.reason}. The model file {file.name} was saved with scikit-learn {saved}, this environment has "
                f"{installed}: pin scikit-learn=={saved} in the environment, or save the model again with {installed}",
                error.detail,
                error.exit_code,
            )
    return error


def saved_with(file: Path) -> str | None:
    """The scikit-learn version that a pickle or joblib file was saved with, or None. Nothing is unpickled."""
    try:
        with file.open("rb") as stream:
            data = stream.read(SCAN_BYTES)
    except OSError:
        return None
    if data[:1] == b"\x78":
        try:
            data = zlib.decompressobj().decompress(data, SCAN_BYTES)
        except zlib.error:
            return None
    found = _VERSION.search(data)
    return found.group(1).decode("ascii") if found else None


def _files(roots: list[Path]) -> Iterator[Path]:
    seen = 0
    for root in roots:
        for file in [root] if root.is_file() else sorted(root.rglob("*")) if root.is_dir() else []:
            if file.suffix in (".pkl", ".pickle", ".joblib", ".sav", ".model", ".bin", "") and file.is_file():
                seen += 1
                if seen > SCAN_FILES:
                    return
                yield file
