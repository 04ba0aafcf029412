"""From references to secrets: in the resources of one look, and at the moment a target is handed one.

Where references may lead, and reading them, is `reconciler.secrets`'; here texts become secrets with fingerprints under
the installation's key. What cannot be read leaves its service alone. A place that does not answer at all is another
matter: what was last applied stands then, so that a vault's bad hour restarts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from reconciler.core.dataclass import replace
from reconciler.core.errors import (
    ConflictError,
    ReconcilerError,
    RefusedError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.problems import Position, Problem, Severity
from reconciler.core.resources import Baseline, Desired, ResourceId
from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import lookup, references, transform, walk
from reconciler.engine.identity import Identity


class Text(Protocol):
    """What stood where a reference leads."""

    @property
    def text(self) -> str:
        """The secret itself."""
        ...

    @property
    def warning(self) -> str:
        """What the operator should know about it."""
        ...


class Reader(Protocol):
    """Reads what references lead to: `reconciler.secrets.sources.Sources`."""

    def begin(self) -> None:
        """A new look at everything."""
        ...

    def read_all(self, refs: Iterable[SecretRef]) -> Mapping[SecretRef, Text | ReconcilerError]:
        """What stands at all of them, or why it cannot be had."""
        ...


class Keyring:
    """The secrets of an installation, each read once a look.

    Args:
        rotations: Gives the rotation counters of generated keys by (name, slot); absent means 0.
        baselines: Gives what was last applied.
    """

    def __init__(
        self,
        identity: Identity,
        reader: Reader,
        rotations: Callable[[], Mapping[tuple[str, str], int]],
        baselines: Callable[[], Mapping[ResourceId, Baseline]],
    ) -> None:
        self._identity = identity
        self._reader = reader
        self._rotations_now = rotations
        self._baselines = baselines
        self._generated: dict[tuple[str, int], Secret] = {}
        self.begin()

    def begin(self) -> None:
        """A new look: everything is read anew, rotation counters too."""
        self._rotations = self._rotations_now()
        self._read: dict[SecretRef, Secret | ReconcilerError] = {}
        self._warnings: dict[SecretRef, str] = {}
        self._reader.begin()

    def generation(self) -> Mapping[tuple[str, str], int]:
        """The rotation counters, which generated keys follow from beside their names."""
        return self._rotations

    def prepare(self, refs: Iterable[SecretRef]) -> None:
        """Reads what has not been read in this look, several at once where that takes time."""
        wanted = [ref for ref in dict.fromkeys(refs) if ref.source != "generated" and ref not in self._read]
        for ref, found in self._reader.read_all(wanted).items():
            if isinstance(found, ReconcilerError):
                self._read[ref] = found
            else:
                self._read[ref] = self._identity.seal(found.text, ref)
                if found.warning:
                    self._warnings[ref] = found.warning

    def secret(self, ref: SecretRef) -> Secret | ReconcilerError:
        """The secret behind a reference, or why it cannot be had."""
        if ref.source == "generated":
            return self._generated_key(ref.name)
        if ref not in self._read:
            self.prepare([ref])
        return self._read[ref]

    def warning(self, ref: SecretRef) -> str:
        """What the operator should know about it; empty for nothing."""
        return self._warnings.get(ref, "")

    def _generated_key(self, name: str) -> Secret:
        made_of, slot = name.split("/")
        rotation = self._rotations.get((made_of, slot), 0)
        if (name, rotation) not in self._generated:
            self._generated[name, rotation] = self._identity.service_key(made_of, slot, rotation)
        return self._generated[name, rotation]

    def fill(self, desired: Desired, position: Position | None) -> tuple[Desired, list[Problem]]:
        """A resource with its references replaced, and what is to be said about them.

        Args:
            position: Of the document that wants it.
        """
        if not references(desired.spec):
            return desired, []
        problems: list[Problem] = []
        found: dict[SecretRef, Secret] = {}
        for pointer, leaf in walk(desired.spec):
            if not isinstance(leaf, SecretRef) or leaf in found:
                continue
            secret = self.secret(leaf)
            if isinstance(secret, ReconcilerError):
                known = self._last_known(desired.id, pointer, leaf, secret)
                problems.append(_problem(secret, pointer, known, position, desired))
                if known is None:
                    continue
                secret = known
            elif warning := self.warning(leaf):
                message = f"{pointer}: {warning}"
                problems.append(_warning("secret-expired", message, position, desired))
            found[leaf] = secret
        spec = transform(desired.spec, lambda leaf: found.get(leaf, leaf) if isinstance(leaf, SecretRef) else leaf)
        return replace(desired, spec=spec), problems

    def _last_known(self, id_: ResourceId, pointer: str, ref: SecretRef, error: ReconcilerError) -> Secret | None:
        if not isinstance(error, (UnavailableError, ThrottledError)):
            return None
        baseline = self._baselines().get(id_)
        applied = lookup(baseline.sent, pointer) if baseline is not None else None
        return Secret(applied.fingerprint, ref) if isinstance(applied, Secret) and applied.ref == ref else None

    def seal(self, text: str) -> Secret:
        """A secret of a text that a target reported, to be compared by its fingerprint."""
        return self._identity.seal(text)

    def reveal(self, secret: Secret | SecretRef) -> str:
        """The text of a secret, at the moment it is handed to a target.

        Raises:
            TerminalError: It is not there any more, or not allowed any more.
            ConflictError: It is another one than was planned.
            TargetError: Where it is kept does not give it now.
        """
        if isinstance(secret, Secret) and secret.text is not None:
            return secret.reveal()
        ref = secret.ref if isinstance(secret, Secret) else secret
        if ref is None:
            raise TerminalError("a secret is known by its fingerprint alone", hint="apply again from Git")
        if isinstance(self._read.get(ref), TargetError):
            # It did not answer when everything was read; by now it may.
            del self._read[ref]
            self._reader.begin()
        found = self.secret(ref)
        if isinstance(found, TargetError):
            raise found
        if isinstance(found, ReconcilerError):
            raise TerminalError(found.message, hint=found.hint) from found
        if isinstance(secret, Secret) and secret != found:
            raise ConflictError(f"the secret at {ref} changed since it was planned")
        return found.reveal()


def _problem(
    error: ReconcilerError, pointer: str, known: Secret | None, position: Position | None, desired: Desired
) -> Problem:
    message = f"{pointer}: {error.message}"
    if known is not None:
        return _warning("secret-unreachable", f"{message}; what was last applied stands", position, desired)
    code = "secret-unavailable"
    if isinstance(error, (UnavailableError, ThrottledError)):
        code = "secret-unreachable"
    elif isinstance(error, RefusedError):
        code = "secret-not-allowed"
    return Problem(code, message, position, error.hint, f"Service/{desired.service}")


def _warning(code: str, message: str, position: Position | None, desired: Desired) -> Problem:
    return Problem(code, message, position, "", f"Service/{desired.service}", Severity.WARNING)
