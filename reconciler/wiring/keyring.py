"""What drivers are handed at the moment of need: secrets, and bytes of the repo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO

from reconciler.core.dataclass import replace
from reconciler.core.errors import InvalidError
from reconciler.wiring.operator import azure_login, scope_of

if TYPE_CHECKING:
    from reconciler.core.contents import Contents, Entry, Tree
    from reconciler.engine.identity import Identity
    from reconciler.engine.secrets import Keyring
    from reconciler.engine.store import Store
    from reconciler.secrets.keyvault import KeyVaults
    from reconciler.secrets.sops import SopsFiles
    from reconciler.secrets.sources import Sources
    from reconciler.settings import Settings

MOST_SEALED_BYTES = 1 << 20


class Bytes:
    """The repo's bytes as of the newest tree that was read: what drivers are given before there is a tree."""

    def __init__(self) -> None:
        self.tree: Tree | None = None

    @property
    def newest(self) -> Contents | None:
        """The bytes, if a tree was read."""
        return self.tree.contents if self.tree is not None else None

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

    def read(self, path: str, object_id: str) -> bytes:
        """A file of the repo: by Git's id, or by its path in the newest tree where that is not known.

        Raises:
            InvalidError: It is not there, or too large.
        """
        if not object_id:
            if self.tree is None:
                raise InvalidError("no revision of the manifest repo has been read yet")
            return self.tree.read(path, MOST_SEALED_BYTES)
        with self.open(object_id) as stream:
            return stream.read(MOST_SEALED_BYTES)


def keyring_of(
    identity: Identity, settings: Settings | None, store: Store, newest: Bytes, environment: Mapping[str, str]
) -> tuple[Keyring, Sources]:
    """The secrets of an installation, and the places they are read from, each opened when it is first needed."""
    from reconciler.engine.secrets import Keyring
    from reconciler.secrets.sources import Sources

    scope = scope_of(settings, environment)

    def vaults() -> KeyVaults:
        from reconciler.secrets.keyvault import KeyVaults

        return KeyVaults(scope.vaults, azure_login(settings, environment))

    def sops() -> SopsFiles:
        from reconciler.manifests.sops import parse_sealed
        from reconciler.secrets.sops import SopsFiles

        allowed = scope.sops
        if "azure_kv" in allowed.key_sources:
            allowed = replace(allowed, environment=azure_login(settings, environment).variables(environment))
        return SopsFiles(allowed, scope.vaults, newest.read, parse_sealed)

    sources = Sources(scope, vaults, sops)
    return Keyring(identity, sources, store.rotations, store.baselines), sources
