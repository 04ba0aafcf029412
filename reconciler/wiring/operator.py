"""The operator's settings as what the parts want to be given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.core.errors import InvalidError
from reconciler.core.problems import Problem

if TYPE_CHECKING:
    from reconciler.artifacts.environments.settings import EnvironmentSettings
    from reconciler.artifacts.models.settings import ModelSettings
    from reconciler.azure.login import AzureLogin
    from reconciler.core.situation import Rails
    from reconciler.secrets.scope import Scope
    from reconciler.settings import Settings
    from reconciler.source import SourceSettings


def load_settings(file: str | None) -> Settings | None:
    """The operator's settings, or None where neither a file nor a variable gives any.

    Args:
        file: As given on the command line; None looks at RECONCILER_SETTINGS.

    Raises:
        InvalidError: They cannot be read or used.
    """
    named = file or os.environ.get("RECONCILER_SETTINGS") or ""
    ignored = ("RECONCILER_SETTINGS", "RECONCILER_STATE_DIR")
    if not named and not any(name.startswith("RECONCILER_") and name not in ignored for name in os.environ):
        return None
    from reconciler.settings import settings_of

    if not named:
        return settings_of()
    from reconciler.manifests.yaml import parse

    path = Path(named).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidError(
            f"the settings file {named} cannot be read: {error.strerror}",
            hint="`--settings FILE` and RECONCILER_SETTINGS name it; without one, the defaults hold",
        ) from error
    documents, problems = parse(data, named)
    if len(documents) > 1:
        problems.append(Problem("settings-documents", "the settings are one document", documents[1].marks.at()))
    if problems:
        raise InvalidError(f"the settings file {named} cannot be used", problems=problems)
    if not documents:
        return settings_of(file=named)
    marks = documents[0].marks
    return settings_of(documents[0].value, lambda pointer, key: marks.at(pointer, key=key), named)


def source_settings(repo: str, ref: str, path: str, settings: Settings | None) -> SourceSettings:
    """What the source needs to read a repo.

    Raises:
        InvalidError: The password's variable or file is not there.
    """
    from reconciler.source.settings import Credentials, SourceSettings, Verify

    if settings is None:
        return SourceSettings(repo, ref, path)
    given = settings.repo
    verify = None
    if given.verify.allowed_signers or given.verify.gnupg_home:
        verify = Verify(given.verify.allowed_signers, given.verify.gnupg_home)
    credentials = None
    if given.username or given.password_env or given.password_file:
        password = _given("repo.password", given.password_env, given.password_file, os.environ)
        credentials = Credentials(given.username, password)
    return SourceSettings(repo, ref, path, credentials=credentials, verify=verify, trusted=given.trusted)


def _given(name: str, variable: str, file: Path | None, environment: Mapping[str, str]) -> str:
    """A secret that the settings name by its variable or its file; "" where they name neither.

    Raises:
        InvalidError: It is not there.
    """
    if variable:
        if variable not in environment:
            raise InvalidError(f"the variable {variable} is not set", hint=f"the settings name it as {name}Env")
        return environment[variable]
    if file:
        try:
            return file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(
                f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}",
                hint=f"the settings name it as {name}File",
            ) from error
    return ""


def scope_of(settings: Settings | None, environment: Mapping[str, str]) -> Scope:
    """Where references to secrets may lead."""
    from reconciler.azure.login import VAULT_SUFFIXES
    from reconciler.secrets.scope import Scope, Sops, Vaults

    if settings is None:
        return Scope(environment=environment)
    given = settings.secrets
    vaults, sops = given.key_vault, given.sops
    return Scope(
        given.env_prefixes,
        given.folders,
        environment,
        Vaults.of(
            vaults.vaults,
            vaults.suffix or VAULT_SUFFIXES[settings.azure.cloud],
            verify_challenge=vaults.verify_challenge,
            timeout=vaults.timeout_seconds,
            attempts=vaults.attempts,
            parallel=vaults.parallel,
        ),
        Sops(
            sops.files,
            frozenset({"azureKeyVault": "azure_kv"}.get(source, source) for source in sops.key_sources),
            sops.binary,
            sops.age_key_file,
            sops.gnupg_home,
            timeout=sops.timeout_seconds,
        ),
    )


def azure_login(settings: Settings | None, environment: Mapping[str, str]) -> AzureLogin:
    """Whose identity to use at Azure.

    Raises:
        InvalidError: The client secret's variable or file is not there.
    """
    from reconciler.azure.login import AzureLogin

    if settings is None:
        return AzureLogin()
    given = settings.azure
    secret = ""
    if given.credential == "clientSecret":
        secret = _given("azure.clientSecret", given.client_secret_env, given.client_secret_file, environment)
    return AzureLogin(
        credential=given.credential,
        cloud=given.cloud,
        authority=given.authority,
        management_url=given.management_url,
        tenant_id=given.tenant_id,
        client_id=given.client_id,
        client_secret=secret,
        ca_file=given.ca_file,
    )


def rails(settings: Settings | None) -> Rails:
    """The thresholds of the safety rails."""
    from reconciler.core.situation import Rails

    return Rails(**settings.rails.model_dump()) if settings else Rails()


def artifact_settings(settings: Settings | None) -> tuple[ModelSettings, EnvironmentSettings]:
    """What the operator lets the built-in registries do."""
    from reconciler.artifacts.environments.settings import EnvironmentSettings
    from reconciler.artifacts.models.settings import ModelSettings

    if settings is None:
        return ModelSettings(), EnvironmentSettings()
    models, environments = settings.models.model_dump(), settings.environments.model_dump()
    return ModelSettings(**models), EnvironmentSettings(**environments)
