"""What is asked of a forge, in one small protocol, and the values that go in and out.

A forge is where pull requests are: GitHub, GitLab or Azure DevOps. Each has a module here that knows its paths, its
names and its refusals; `comments` and the commands know none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

from reconciler.core.commit_status import CommitStatus
from reconciler.core.dataclass import dataclass


class Provider(StrEnum):
    """The forges we speak to."""

    GITHUB = "github"
    GITLAB = "gitlab"
    AZURE_DEVOPS = "azure-devops"


# Their names in sentences.
TITLES = {Provider.GITHUB: "GitHub", Provider.GITLAB: "GitLab", Provider.AZURE_DEVOPS: "Azure DevOps"}


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment of a pull request.

    Args:
        id: As the forge's own calls want it.
        author: Who wrote it, comparable with whom we are; empty if the forge does not say.
        bot: Written by a program and not by a person, where the forge tells.
    """

    id: str
    body: str
    author: str = ""
    url: str = ""
    bot: bool = False


class Forge(Protocol):
    """One repository at a forge. Every call may raise `TargetError`s; the class says why."""

    @property
    def longest(self) -> int:
        """How many characters a comment may have, in UTF-16 units."""
        ...

    def head(self, pull_request: int) -> str:
        """The newest commit of a pull request's own branch; empty if the forge does not say."""
        ...

    def comments(self, pull_request: int) -> Iterator[Comment]:
        """Every comment, page by page, oldest first."""
        ...

    def is_ours(self, comment: Comment) -> bool:
        """Whether whoever the token belongs to wrote it."""
        ...

    def create(self, pull_request: int, body: str) -> Comment:
        """Writes a new comment.

        Raises:
            UnavailableError: It is not known whether it was written.
        """
        ...

    def update(self, pull_request: int, comment: Comment, body: str) -> Comment:
        """Writes other words into a comment.

        Raises:
            NotFoundError: It is gone.
        """
        ...

    def delete(self, pull_request: int, comment: Comment) -> None:
        """Takes a comment away.

        Raises:
            NotFoundError: It is gone already.
        """
        ...

    def post_status(self, sha: str, status: CommitStatus, environment: str, url: str = "") -> None:
        """Tells how applying a commit goes in an environment; the last one posted counts.

        Args:
            url: Of more about it.
        """
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...
