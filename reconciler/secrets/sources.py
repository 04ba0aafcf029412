"""Every place that a reference may lead to, behind one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from reconciler.core.errors import InvalidError, ReconcilerError
from reconciler.core.secrets import SecretRef
from reconciler.secrets.found import Found
from reconciler.secrets.local import from_env, from_file
from reconciler.secrets.scope import Scope

if TYPE_CHECKING:
    from reconciler.secrets.keyvault import KeyVaults
    from reconciler.secrets.sops import SopsFiles


class Sources:
    """Reads what references lead to. Safe to use from many threads.

    Args:
        vaults, sops: Made when a reference first needs them.
    """

    def __init__(self, scope: Scope, vaults: Callable[[], KeyVaults], sops: Callable[[], SopsFiles]) -> None:
        self._scope = scope
        self._make_vaults = vaults
        self._make_sops = sops
        self._vaults: KeyVaults | None = None
        self._sops: SopsFiles | None = None

    def begin(self) -> None:
        """A new look at everything."""
        if self._vaults is not None:
            self._vaults.begin()

    def read(self, ref: SecretRef) -> Found:
        """What stands there.

        Raises:
            RefusedError: The operator's settings do not allow it.
            InvalidError, TargetError: It is not there, or cannot be read; the class says how to go on.
        """
        match ref.source:
            case "env":
                return Found(from_env(self._scope, ref.name))
            case "file":
                return Found(from_file(self._scope, ref.name))
            case "keyVault":
                if self._vaults is None:
                    self._vaults = self._make_vaults()
                return self._vaults.read(ref.name)
            case "sops":
                if self._sops is None:
                    self._sops = self._make_sops()
                return self._sops.read(ref)
            case _:
                raise InvalidError(f"secrets from '{ref.source}' are not known here")

    def read_all(self, refs: Iterable[SecretRef]) -> dict[SecretRef, Found | ReconcilerError]:
        """What stands at all of them, or why it cannot be had; those of vaults several at once."""
        found: dict[SecretRef, Found | ReconcilerError] = {}
        remote: list[SecretRef] = []
        for ref in dict.fromkeys(refs):
            if ref.source == "keyVault":
                remote.append(ref)
            else:
                found[ref] = self._one(ref)
        if remote:
            # The first alone: whether its vault answers at all need not be found out by each.
            found[remote[0]] = self._one(remote[0])
            with ThreadPoolExecutor(self._scope.vaults.parallel, thread_name_prefix="secrets") as pool:
                found.update(zip(remote[1:], pool.map(self._one, remote[1:]), strict=True))
        return found

    def _one(self, ref: SecretRef) -> Found | ReconcilerError:
        try:
            return self.read(ref)
        except ReconcilerError as exc:
            return exc

    def close(self) -> None:
        """Closes connections."""
        if self._vaults is not None:
            self._vaults.close()
