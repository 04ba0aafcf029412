"""What this machine has that environments are made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from reconciler.artifacts.environments.interpreters import Interpreter, find_interpreters
from reconciler.artifacts.environments.settings import EnvironmentSettings
from reconciler.core.dataclass import dataclass

SPARK = "spark-py"
"""The runtime that needs Java."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts about this machine, found once and passed in.

    Args:
        java: The Java launcher, None if there is none.
    """

    interpreters: tuple[Interpreter, ...]
    java: Path | None = None


def find_machine(environ: Mapping[str, str], settings: EnvironmentSettings) -> Machine:
    """This machine's Pythons and Java, found without running any of them (in milliseconds)."""
    home = environ.get("JAVA_HOME")
    return Machine(
        find_interpreters(environ, settings.interpreters),
        _program("java", f"{home}/bin" if home else environ.get("PATH", "")),
    )


def _program(name: str, path: str) -> Path | None:
    # As `shutil.which`, whose module takes longer to import than the rest of this look.
    candidates = (f"{folder}/{name}" for folder in path.split(":") if folder)
    return next((Path(at) for at in candidates if os.access(at, os.X_OK) and not os.path.isdir(at)), None)  # noqa: PTH112
