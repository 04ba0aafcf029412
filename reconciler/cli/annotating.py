"""Problems beside the files of a pull request, where `--annotations` asks for them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from reconciler.cli.console import Console
from reconciler.cli.session import Session
from reconciler.core.errors import InvalidError, ReconcilerError
from reconciler.core.problems import Problem


@contextmanager
def annotating(session: Session, console: Console) -> Generator[None]:
    """Annotates what a command ends with that cannot go on."""
    try:
        yield
    except ReconcilerError as error:
        found = tuple(error.problems) if isinstance(error, InvalidError) else ()
        annotate(found or (Problem(error.code, error.message, hint=error.hint),), session, console)
        raise


def annotate(problems: Iterable[Problem], session: Session, console: Console) -> None:
    """Writes the annotations, if they are asked for."""
    if session.arguments.annotations != "github":
        return
    from reconciler.views.annotations import github

    for line in github(problems, session.folder):
        console.command(line)
