"""Turning references into secrets, only where the operator's settings allow it; a manifest can grant itself nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reconciler.core.dataclass import dataclass, replace
from reconciler.core.deployment import Auth, Deployment
from reconciler.core.problems import Problem
from reconciler.core.secrets import Secret, SecretRef
from reconciler.engine.identity import Identity

MAX_SECRET_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SecretScope:
    """Where references may lead.

    Args:
        env_prefixes: Names of environment variables must begin with one of these.
        folders: Files must lie below one of these, symlinks resolved.
        environment: The variables to look in.
    """

    env_prefixes: Sequence[str] = ()
    folders: Sequence[Path] = ()
    environment: Mapping[str, str] | None = None


class SecretError(Exception):
    """A reference that leads nowhere it may; the text is for the report."""


class Secrets:
    """Resolves a deployment's secret references.

    Args:
        rotations: Rotation counters of generated keys by (service, slot); absent means 0.
    """

    def __init__(self, identity: Identity, scope: SecretScope, rotations: Mapping[tuple[str, str], int]) -> None:
        self._identity = identity
        self._scope = scope
        self._rotations = rotations

    def resolve(self, ref: SecretRef) -> Secret:
        """The secret behind a reference.

        Raises:
            SecretError: The settings do not allow it, or nothing is there.
        """
        match ref.source:
            case "env":
                return self._identity.seal(self._from_env(ref.name), ref)
            case "file":
                return self._identity.seal(self._from_file(ref.name), ref)
            case _:
                raise SecretError(f"secrets from '{ref.source}' are not known here")

    def _from_env(self, name: str) -> str:
        if not any(name.startswith(prefix) for prefix in self._scope.env_prefixes):
            raise SecretError(f"the operator's settings do not allow environment variable {name} (secrets.envPrefixes)")
        environment = os.environ if self._scope.environment is None else self._scope.environment
        if name not in environment:
            raise SecretError(f"environment variable {name} is not set where the reconciler runs")
        return environment[name]

    def _from_file(self, name: str) -> str:
        path = Path(name)
        try:
            real = path.resolve(strict=True)
        except OSError as exc:
            raise SecretError(f"secret file {name} cannot be read: {exc.strerror}") from exc
        if not any(real.is_relative_to(folder.resolve()) for folder in self._scope.folders):
            raise SecretError(f"the operator's settings do not allow secret file {name} (secrets.folders)")
        try:
            with real.open("rb") as file:
                data = file.read(MAX_SECRET_BYTES + 1)
            if len(data) > MAX_SECRET_BYTES:
                raise SecretError(f"secret file {name} is larger than {MAX_SECRET_BYTES} bytes")
            return data.decode().rstrip("\r\n")
        except OSError as exc:
            raise SecretError(f"secret file {name} cannot be read: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise SecretError(f"secret file {name} is not UTF-8 text") from exc

    def fill(self, deployment: Deployment) -> tuple[Deployment, list[Problem]]:
        """The deployment with its references replaced and its generated keys made, and what could not be."""
        problems: list[Problem] = []

        def one(ref: SecretRef, where: str) -> Secret | SecretRef:
            try:
                return self.resolve(ref)
            except SecretError as exc:
                subject = f"Service/{deployment.service}"
                problems.append(Problem("secret-unavailable", f"{where}: {exc}", deployment.position, "", subject))
                return ref

        auth = self._auth(deployment, one)
        variables = {
            name: one(value, f"environment variable {name}") if isinstance(value, SecretRef) else value
            for name, value in deployment.settings.environment_variables.items()
        }
        settings = deployment.settings
        if any(isinstance(v, SecretRef) for v in settings.environment_variables.values()):
            settings = replace(settings, environment_variables=variables)
        if auth is deployment.auth and settings is deployment.settings:
            return deployment, problems
        return replace(deployment, auth=auth, settings=settings), problems

    def _auth(self, deployment: Deployment, one: Callable[[SecretRef, str], Secret | SecretRef]) -> Auth:
        auth = deployment.auth
        if not auth.enabled:
            return auth

        def slot(name: str, given: SecretRef | Secret | None) -> SecretRef | Secret:
            if given is None:
                rotation = self._rotations.get((deployment.service, name), 0)
                return self._identity.service_key(deployment.service, name, rotation)
            return one(given, f"{name} key") if isinstance(given, SecretRef) else given

        return Auth(True, slot("primary", auth.primary), slot("secondary", auth.secondary))
