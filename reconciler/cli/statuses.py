"""`apply --commit-status`: tells the forge that a commit is being applied, and how it ended; fails nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.cli import exits
from reconciler.cli.ending import sentence
from reconciler.cli.session import Session
from reconciler.core.commit_status import CommitState, CommitStatus
from reconciler.core.contents import Revision
from reconciler.core.dataclass import dataclass
from reconciler.core.errors import ReconcilerError
from reconciler.engine.summary import Summary

if TYPE_CHECKING:
    from reconciler.cli.console import Console
    from reconciler.wiring.forges import StatusPoster

# The end of a commit is worth waiting for; its beginning is not.
_ATTEMPTS = 4


@dataclass
class Telling:
    """Tells how one apply goes; without a poster, nothing.

    Args:
        note: Takes a word for people: what could not be posted.
    """

    poster: StatusPoster | None
    note: Callable[[str], None]
    _sha: str = ""

    def begin(self, revision: Revision) -> None:
        """It is known which commit is applied."""
        if self.poster is None:
            return
        if revision.dirty:
            self.note("no commit status: what is applied is no commit")
            return
        self._sha = revision.sha
        self._post(CommitStatus(CommitState.PENDING, "applying"), 1)

    def end(self, summary: Summary) -> None:
        """It ended, whoever did it."""
        revision = Revision.parse(summary.revision)
        if self.poster is not None and not revision.dirty:
            self._sha = revision.sha
            self._post(status_of(summary), _ATTEMPTS)

    def fail(self, error: BaseException) -> None:
        """It stopped with an error, or somebody interrupted it."""
        if not self._sha:
            return
        if isinstance(error, ReconcilerError):
            self._post(CommitStatus(CommitState.FAILURE, error.message), _ATTEMPTS)
        else:
            stopped = isinstance(error, KeyboardInterrupt)
            state = CommitState.STOPPED if stopped else CommitState.FAILURE
            self._post(CommitStatus(state, "interrupted" if stopped else "internal error"), 1)

    def _post(self, status: CommitStatus, attempts: int) -> None:
        assert self.poster is not None
        try:
            self.poster(self._sha, status, attempts)
        except ReconcilerError as error:
            self.note(f"commit status not posted: {error.message}" + (f" ({error.hint})" if error.hint else ""))


@contextmanager
def telling(wanted: bool, session: Session, console: Console) -> Generator[Telling]:
    """Tells the forge of what happens in the block, if that is wanted.

    Raises:
        InvalidError: Nothing says where to, or with which token.
    """
    poster = None
    if wanted:
        from reconciler.wiring.forges import status_poster

        poster = status_poster(session.settings, session.environment)
    told = Telling(poster, console.note)
    try:
        yield told
    except BaseException as error:
        told.fail(error)
        raise


def status_of(summary: Summary) -> CommitStatus:
    """How a run ended, for its commit."""
    if summary.exit_code == 0:
        return CommitStatus(CommitState.SUCCESS, sentence(summary))
    if summary.exit_code == exits.REFUSED and all(refusal.code == "approval-required" for refusal in summary.refusals):
        targets = ", ".join(refusal.message for refusal in summary.refusals)
        return CommitStatus(CommitState.PENDING, targets)
    state = CommitState.STOPPED if summary.cancelled else CommitState.FAILURE
    codes = [*(refusal.code for refusal in summary.refusals), *(["unhealthy"] if summary.unhealthy else [])]
    about = f" ({', '.join(dict.fromkeys(codes))})" if codes else ""
    return CommitStatus(state, sentence(summary) + about)
