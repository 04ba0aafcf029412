"""Who we are: the installation's id and master key, in a file beside the store that is backed up apart from it.

Losing the store loses nothing that this file and the targets' marks cannot bring back; losing this file too makes
every resource foreign and every generated key new.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from reconciler.core.dataclass import dataclass, field
from reconciler.core.errors import InvalidError
from reconciler.core.secrets import Secret, SecretRef, generated_key, seal


@dataclass(frozen=True, slots=True)
class Identity:
    """An installation.

    Args:
        installation: Its id, carried by every mark.
        key: 32 bytes; fingerprints and generated keys are HMACs under it.
    """

    installation: str
    key: bytes = field(repr=False)

    def seal(self, text: str, ref: SecretRef | None = None) -> Secret:
        """A secret with its fingerprint under this installation's key."""
        return seal(self.key, text, ref)

    def service_key(self, service: str, slot: str, rotation: int) -> Secret:
        """The generated key of a service's slot (`primary`, `secondary`) after so many rotations."""
        text = generated_key(self.key, service, slot, rotation)
        return seal(self.key, text, SecretRef("generated", f"{service}/{slot}"))


def load_identity(path: Path) -> Identity:
    """Reads the identity file, or makes one (mode 0600) the first time.

    Raises:
        InvalidError: The file is there but cannot be used; it is never overwritten.
    """
    try:
        data = json.loads(path.read_text())
        installation, key = str(data["installation"]), bytes.fromhex(data["masterKey"])
        if not installation or len(key) < 32:
            raise ValueError("too short")
    except FileNotFoundError:
        return _make(path)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InvalidError(
            f"the identity file {path} cannot be used ({type(exc).__name__}); without it nothing is known as ours",
            hint="restore it from its backup; only if there is none, move it away and adopt what runs",
        ) from exc
    return Identity(installation, key)


def _make(path: Path) -> Identity:
    try:
        return _write(path)
    except OSError as exc:
        raise InvalidError(
            f"the identity file {path} cannot be written: {exc.strerror or type(exc).__name__}",
            hint="check that the folder is writable and the disk is not full",
        ) from exc


def _write(path: Path) -> Identity:
    identity = Identity(f"rc-{secrets.token_hex(6)}", secrets.token_bytes(32))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump({"installation": identity.installation, "masterKey": identity.key.hex()}, file)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        return load_identity(path)
    finally:
        temporary.unlink()
    return identity
