"""The forge that is told how applying a commit went: from settings, and from the variables of the CI this runs in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import InvalidError, UsageError
from reconciler.forge.ci import Surroundings, surroundings
from reconciler.forge.opening import Named, Repository, open_forge, repository_of, token_of

if TYPE_CHECKING:
    from reconciler.core.commit_status import CommitStatus
    from reconciler.settings import Settings

# What the status of those is called who have no environments.
NO_ENVIRONMENT = "default"


@dataclass(frozen=True, slots=True)
class StatusPoster:
    """Posts the status of commits, with a connection of its own each time: posts are rare, and tokens may be renewed.

    Args:
        name: What it is called behind `reconciler/`.
    """

    name: str
    repository: Repository
    named: Named
    details_url: str
    environ: Mapping[str, str] = field(repr=False)

    def __call__(self, sha: str, status: CommitStatus, attempts: int = 1) -> None:
        """Tells the forge.

        Raises:
            TargetError: It cannot be reached, or refuses.
            InvalidError: The token cannot be read.
        """
        token = token_of(self.named, self.repository.provider, self.environ)
        forge = open_forge(self.repository, token, attempts=attempts)
        try:
            forge.post_status(sha, status, self.name, self.details_url or self.repository.around.details_url)
        finally:
            forge.close()


def status_poster(settings: Settings | None, environment: str) -> StatusPoster:
    """Who posts commit statuses.

    Raises:
        InvalidError: Nothing says where to, or with which token.
    """
    given = settings.forge if settings else None
    named = Named()
    if given is not None:
        named = Named(
            provider="" if given.provider == "auto" else given.provider,
            project=given.project,
            api=given.api_url,
            token_env=given.token_env,
            token_file=str(given.token_file or ""),
            ca_file=str(given.ca_file or ""),
        )
    try:
        repository = repository_of(named, around())
    except UsageError as error:
        raise InvalidError(error.message, hint=error.hint) from error
    # Everything is tried that needs no answer: what is wrong is to be told now, not when the first commit was applied.
    open_forge(repository, token_of(named, repository.provider, os.environ)).close()
    name = (given.status_name if given else "") or environment or NO_ENVIRONMENT
    return StatusPoster(name, repository, named, given.details_url if given else "", os.environ)


def around() -> Surroundings:
    """What the variables of this process say of the run in CI that it belongs to."""
    return surroundings(os.environ, lambda path: Path(path).read_text(encoding="utf-8"))
