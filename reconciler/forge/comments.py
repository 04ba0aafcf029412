"""One comment a pull request and environment: found by its marker and its author, updated in place.

Two runs may be at it at once. Each looks, writes, and looks again: the oldest comment stays, with the words of whoever
wrote last; a run whose commit is not the newest one any more writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import AccessError, TargetError, UnavailableError
from reconciler.forge import body
from reconciler.forge.forge import Comment, Forge
from reconciler.forge.refusals import NotFoundError

_ROUNDS = 5


class Written(StrEnum):
    """What became of it."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of it, and where it stands (empty if the forge does not say)."""

    written: Written
    url: str = ""


def put_comment(forge: Forge, pull_request: int, markdown: str, mark: str, head: str = "") -> Result:
    """Makes the one comment under a marker say this.

    Args:
        mark: As `body.marker` gives it.
        head: The commit that was looked at; empty if that is not known.

    Raises:
        TargetError: The forge refused, or cannot be reached; the class says which.
    """
    text = body.fitted(body.marked(markdown, mark), forge.longest)
    created: Comment | None = None
    wrote = Written.UNCHANGED
    unsure: UnavailableError | None = None
    for _ in range(_ROUNDS):
        if created is None and _superseded(forge, pull_request, head):
            return Result(Written.SUPERSEDED)
        ours = _ours(forge, pull_request, mark)
        if not ours and created is not None:
            # A forge that does not list yet what it has just taken.
            return Result(Written.CREATED, created.url)
        if not ours:
            try:
                created = forge.create(pull_request, text)
            except UnavailableError as error:
                # It may have arrived: another look tells.
                unsure = error
            else:
                wrote = Written.CREATED
            continue
        kept = ours[0]
        try:
            if not body.same(kept.body, text):
                forge.update(pull_request, kept, text)
                wrote = Written.UPDATED
            elif unsure is not None:
                wrote = Written.CREATED
        except NotFoundError:
            # Another run, or a person, took it away in between.
            created = None
            continue
        for extra in ours[1:]:
            with suppress(NotFoundError):
                forge.delete(pull_request, extra)
        return Result(wrote, kept.url)
    raise unsure or TargetError(
        f"the comment of pull request {pull_request} changes as fast as it is written",
        hint="something else deletes it; run this again when that has ended",
    )


def _ours(forge: Forge, pull_request: int, mark: str) -> Sequence[Comment]:
    """Comments with the marker that we wrote, oldest first; what others pasted is theirs."""
    found = [c for c in forge.comments(pull_request) if body.carries(c.body, mark)]
    return [comment for comment in found if forge.is_ours(comment)]


def _superseded(forge: Forge, pull_request: int, head: str) -> bool:
    if not head:
        return False
    try:
        newest = forge.head(pull_request)
    except AccessError:
        # A token may write comments and yet not read pull requests; the comment is worth more than the question.
        return False
    return bool(newest) and newest != head
