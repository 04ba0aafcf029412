"""Problems as GitHub's workflow commands: a line in a job's log that the runner turns into an annotation of a file.

The form, and what has to be escaped in it, is that of `packages/core/src/command.ts` in actions/toolkit.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from reconciler.core.problems import Problem, Severity
from reconciler.views.problems import in_order
from reconciler.views.values import paragraph


def github(problems: Iterable[Problem], folder: str = "") -> Iterator[str]:
    """One line a problem, errors first: the runner shows the first ten of a step.

    Args:
        folder: The manifest folder in its Git repo, since annotations name files from the repo's root.
    """
    for problem in sorted(in_order(problems), key=lambda p: p.severity is not Severity.ERROR):
        yield _command(problem, folder)


def _command(problem: Problem, folder: str) -> str:
    properties: dict[str, str] = {}
    at = problem.position
    if at is not None and not at.file.startswith("/"):
        properties["file"] = posixpath.normpath(posixpath.join(folder, at.file))
        if at.line:
            properties["line"] = str(at.line)
        if at.line and at.column:
            properties["col"] = str(at.column)
    properties["title"] = problem.code
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    about = "" if at is not None or not problem.subject else f"{problem.subject}: "
    lines = [*paragraph(f"{about}{problem.message}"), *(paragraph(problem.hint) if problem.hint else [])]
    return f"::{problem.severity.value} {listed}::{_data(chr(10).join(lines))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
