"""The operator's settings as what the parts want to be given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.core.errors import InvalidError
from reconciler.core.problems import Problem

if TYPE_CHECKING:
    from reconciler.artifacts.environments.settings import EnvironmentSettings
    from reconciler.artifacts.models.settings import ModelSettings
    from reconciler.core.situation import Rails
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
        credentials = Credentials(given.username, _password(settings))
    return SourceSettings(repo, ref, path, credentials=credentials, verify=verify, trusted=given.trusted)


def _password(settings: Settings) -> str:
    repo = settings.repo
    if repo.password_env:
        if repo.password_env not in os.environ:
            raise InvalidError(
                f"the variable {repo.password_env} is not set", hint="the settings name it as repo.passwordEnv"
            )
        return os.environ[repo.password_env]
    if repo.password_file:
        try:
            return repo.password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(
                f"{repo.password_file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}",
                hint="the settings name it as repo.passwordFile",
            ) from error
    return ""


def rails(settings: Settings | None) -> Rails:
    """The thresholds of the safety rails."""
    from reconciler.core.situation import Rails

    return Rails(settings.rails.max_delete_percent, settings.rails.min_resources) if settings else Rails()


def artifact_settings(settings: Settings | None) -> tuple[ModelSettings, EnvironmentSettings]:
    """What the operator lets the built-in registries do."""
    from reconciler.artifacts.environments.settings import EnvironmentSettings
    from reconciler.artifacts.models.settings import ModelSettings

    if settings is None:
        return ModelSettings(), EnvironmentSettings()
    models, environments = settings.models.model_dump(), settings.environments.model_dump()
    return ModelSettings(**models), EnvironmentSettings(**environments)
