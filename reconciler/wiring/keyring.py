"""What drivers are handed at the moment of need: secrets, and bytes of the repo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from reconciler.core.errors import InvalidError

if TYPE_CHECKING:
    from reconciler.core.contents import Contents, Entry
    from reconciler.core.deployment import Deployment
    from reconciler.core.problems import Problem
    from reconciler.core.secrets import Secret, SecretRef
    from reconciler.engine.identity import Identity
    from reconciler.engine.secrets import SecretScope
    from reconciler.engine.store import Store


class Bytes:
    """The repo's bytes as of the newest tree that was read: what drivers are given before there is a tree."""

    def __init__(self) -> None:
        self.newest: Contents | None = None

    def files(self, object_id: str) -> Iterator[Entry]:
        """Every file of a tree; see `core.contents.Contents`."""
        return self._there().files(object_id)

    def open(self, object_id: str) -> BinaryIO:
        """A stream over a blob; see `core.contents.Contents`."""
        return self._there().open(object_id)

    def _there(self) -> Contents:
        if self.newest is None:
            raise InvalidError("no revision of the manifest repo has been read yet")
        return self.newest


class Keyring:
    """Secrets for deployments; rotation counters are read anew with every tree."""

    def __init__(self, identity: Identity, scope: SecretScope, store: Store) -> None:
        self._identity = identity
        self._scope = scope
        self._store = store
        self.refresh()

    def seal(self, text: str) -> Secret:
        """A secret of a text that a target reported, to be compared by its fingerprint."""
        return self._identity.seal(text)

    def refresh(self) -> None:
        """Reads the rotation counters."""
        from reconciler.engine.secrets import Secrets

        self._secrets = Secrets(self._identity, self._scope, self._store.rotations())

    def fill(self, deployment: Deployment) -> tuple[Deployment, list[Problem]]:
        """See `Secrets.fill`."""
        return self._secrets.fill(deployment)

    def reveal(self, secret: Secret | SecretRef) -> str:
        """The text of a secret, at the moment it is handed to a target.

        Raises:
            TerminalError: It is not there any more, or not allowed any more.
        """
        from reconciler.core.errors import TerminalError
        from reconciler.core.secrets import Secret
        from reconciler.engine.secrets import SecretError

        if isinstance(secret, Secret) and secret.text is not None:
            return secret.reveal()
        ref = secret.ref if isinstance(secret, Secret) else secret
        if ref is None:
            raise TerminalError("a secret is known by its fingerprint alone", hint="apply again from Git")
        if ref.source == "generated":
            service, slot, rotation = ref.name.rsplit("/", 2)
            return self._identity.service_key(service, slot, int(rotation)).reveal()
        try:
            return self._secrets.resolve(ref).reveal()
        except SecretError as error:
            raise TerminalError(str(error)) from error
