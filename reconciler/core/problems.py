"""What is wrong with the input, and where: the one type in which every layer reports it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from reconciler.core.dataclass import dataclass


class Severity(StrEnum):
    """How bad a problem is: an error stops the document it stands in, a warning stops nothing."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file of the manifest repo; line and column count from 1, 0 means the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        code: Stable, kebab-case, listed in docs/messages.md (`unknown-key`).
        message: What is wrong, in one sentence; never holds a secret or raw file content.
        position: Where it stands, if it stands in a file.
        hint: What to do about it ("did you mean 'memoryGb'?").
        subject: The document or resource it concerns (`Service/diabetes`).
    """

    code: str
    message: str
    position: Position | None = None
    hint: str = ""
    subject: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position else (f"{self.subject}: " if self.subject else "")
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{where}{self.severity}: {self.message} [{self.code}]{hint}"

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Orders a report by file and place."""
        at = self.position or Position("")
        return (at.file, at.line, at.column, self.code, self.message)


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    """The problems that are errors."""
    return [problem for problem in problems if problem.severity is Severity.ERROR]
