"""What a manifest repo may ask of the one who reads it, and how that is told."""

from __future__ import annotations

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import InvalidError
from reconciler.core.problems import Position, Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """What a manifest repo may ask of the one who reads it.

    Args:
        files: Files below the manifest path, or in one folder of code or of a model.
        depth: Folders inside each other.
    """

    files: int = 100_000
    depth: int = 64


class Budget:
    """Counts what a walk sees, so that it ends."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = limits.files

    def add(self, count: int, where: str) -> None:
        self._left -= count
        if self._left < 0:
            raise invalid(
                "too-many-files",
                f"more than {self._limits.files:,} files, counted up to {where}",
                where,
                "narrow the manifest path, or raise the operator's limit on files",
            )

    def enter(self, path: str, depth: int) -> None:
        if depth > self._limits.depth:
            raise invalid("too-deep", f"{path} is nested deeper than {self._limits.depth} folders", path)


def invalid(code: str, message: str, path: str, hint: str = "") -> InvalidError:
    return InvalidError(message, problems=[Problem(code, message, Position(path), hint)], hint=hint)
