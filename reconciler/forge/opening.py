"""Opening a forge from what options, settings and CI say of it, whoever says it first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import AccessError, InvalidError, UsageError
from reconciler.forge import azure_devops, github, gitlab
from reconciler.forge.api import ATTEMPTS, Api
from reconciler.forge.ci import DEFAULT_APIS, TOKENS, Surroundings
from reconciler.forge.forge import TITLES, Forge, Provider
from reconciler.forge.refusals import Refusals

_MODULES = {Provider.GITHUB: github, Provider.GITLAB: gitlab, Provider.AZURE_DEVOPS: azure_devops}
_FORMS = {
    Provider.GITHUB: "owner/name",
    Provider.GITLAB: "group/name, or the project's number",
    Provider.AZURE_DEVOPS: "project/repository",
}

_WAYS_TO_A_TOKEN = {
    Provider.GITHUB: "give the step `env: {GITHUB_TOKEN: ${{ github.token }}}`, or name another variable: --token-env",
    Provider.GITLAB: "add a masked variable GITLAB_TOKEN to the project (a project access token with scope `api`), not "
    "protected where merge requests need it",
    Provider.AZURE_DEVOPS: "give the step `env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}`",
}


@dataclass(frozen=True, slots=True)
class Named:
    """What somebody says of a forge; what is empty is taken from CI's variables.

    Args:
        token_env, token_file: Where the token is; never itself.
    """

    provider: str = ""
    project: str = ""
    api: str = ""
    token_env: str = ""
    token_file: str = ""
    ca_file: str = ""


class NoTokenError(AccessError):
    """There is no token at all."""


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository at a forge, and how to reach it; nothing is asked there yet."""

    provider: Provider
    project: str
    api: str
    ca_file: str
    around: Surroundings


def repository_of(named: Named, around: Surroundings) -> Repository:
    """Which repository is meant, at which forge, and its address.

    Raises:
        UsageError: Neither somebody nor CI says.
    """
    provider = Provider(named.provider) if named.provider else around.provider
    if provider is None:
        raise UsageError(
            "this is no run of GitHub Actions, GitLab CI or Azure Pipelines, so nothing says which forge is meant",
            hint="name it: --forge github --project team/models --pull-request 7 (or forge.provider, forge.project)",
        )
    here = around if around.provider is provider else Surroundings(provider)
    project, api = named.project or here.project, named.api or here.api or DEFAULT_APIS.get(provider, "")
    if not project:
        raise UsageError(
            f"nothing says which repository at {TITLES[provider]} is meant",
            hint=f"name it: --project, or forge.project in the settings ({_FORMS[provider]})",
        )
    if provider is not Provider.GITLAB and project.strip("/").count("/") != 1:
        raise UsageError(f"{project!r} is no repository at {TITLES[provider]}", hint=f"its form is {_FORMS[provider]}")
    if not api:
        raise UsageError(
            f"nothing says where {TITLES[provider]} is",
            hint="name your organization's address: --api-url https://dev.azure.com/ORGANIZATION (or forge.apiUrl)",
        )
    return Repository(provider, project.strip("/"), api, named.ca_file or here.ca_file, here)


def token_of(named: Named, provider: Provider, environ: Mapping[str, str]) -> str:
    """The token, from the variable or file that is named, else from where CI puts it.

    Raises:
        NoTokenError: There is none.
        InvalidError: The file cannot be read, or holds something else.
    """
    names = (named.token_env,) if named.token_env else TOKENS[provider]
    if named.token_file:
        where = f"the file {named.token_file}"
        try:
            token = Path(named.token_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(
                f"{where} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}",
                hint="it is to hold the token and nothing else",
            ) from error
    else:
        given = {name: environ.get(name, "").strip() for name in names}
        # Azure Pipelines leaves `$(NAME)` as it is where a run may not have the secret, as one of a fork.
        name = next((n for n in names if given[n] and not given[n].startswith("$(")), names[0])
        where, token = f"the variable {name}", "" if given[name].startswith("$(") else given[name]
    if not token:
        looked = named.token_file or ", ".join(names)
        raise NoTokenError(
            f"there is no token for {TITLES[provider]}: {looked} is empty", hint=_WAYS_TO_A_TOKEN[provider]
        )
    if not token.isascii() or any(ch.isspace() or not ch.isprintable() for ch in token):
        raise InvalidError(
            f"{where} holds something else than a token", hint="a token has no blanks and no line breaks"
        )
    return token


def open_forge(
    repository: Repository,
    token: str,
    *,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Forge:
    """A forge to ask.

    Raises:
        InvalidError: The address or the certificates cannot be used.
    """
    module = _MODULES[repository.provider]
    refusals = Refusals(TITLES[repository.provider], token, module.NEEDS, now)
    api = Api(
        repository.api, module.headers(token), refusals, ca_file=repository.ca_file, attempts=attempts, sleep=sleep
    )
    match repository.provider:
        case Provider.GITHUB:
            graphql = repository.around.graphql if repository.api == repository.around.api else ""
            return github.GitHub(api, repository.project, graphql)
        case Provider.GITLAB:
            return gitlab.GitLab(api, repository.project, repository.around.pipeline)
        case Provider.AZURE_DEVOPS:
            return azure_devops.AzureDevOps(api, repository.project)
