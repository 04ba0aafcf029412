"""Signed by the installation, checked by anybody: a DSSE envelope with an Ed25519 signature.

The envelope and what is signed of it (PAE) are those of DSSE 1.0.2 (https://github.com/secure-systems-lab/dsse), so
other tools can check it too. The signing key follows from the installation's master key: there is no further file to
back up, and it is the same after the store was lost.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, cast

from reconciler.core.dataclass import dataclass
from reconciler.core.errors import InvalidError, RefusedError, UsageError

PAYLOAD_TYPE = "application/vnd.reconciler.snapshot+json"
ALGORITHM = "ed25519"
_PURPOSE = b"snapshot-signing\0ed25519"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Whose signature is believed; as text `<installation>:ed25519:<32 bytes in base64>`."""

    installation: str
    raw: bytes

    def __str__(self) -> str:
        return f"{self.installation}:{ALGORITHM}:{base64.b64encode(self.raw).decode()}"

    @property
    def id(self) -> str:
        """A short name of the key, for envelopes: no proof of anything."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """The inverse of `str()`.

        Raises:
            UsageError: It has another form.
        """
        installation, _, rest = text.strip().partition(":")
        algorithm, _, encoded = rest.partition(":")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if not installation or algorithm != ALGORITHM or len(raw) != 32:
            raise UsageError(
                "a snapshot's key has the form INSTALLATION:ed25519:KEY",
                hint="`reconciler snapshot --public-key` prints it where the daemon runs",
            )
        return cls(installation, raw)


class Signer:
    """Signs for one installation.

    Args:
        master_key: The installation's.
    """

    def __init__(self, installation: str, master_key: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        seed = hmac.new(master_key, _PURPOSE, hashlib.sha256).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = PublicKey(installation, self._key.public_key().public_bytes_raw())

    def sign(self, payload: str) -> bytes:
        """The envelope of a text, as one line of JSON."""
        body = payload.encode()
        envelope = {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(body).decode(),
            "signatures": [
                {"keyid": self.public_key.id, "sig": base64.b64encode(self._key.sign(_signed(body))).decode()}
            ],
        }
        return json.dumps(envelope).encode() + b"\n"


def open_envelope(data: bytes, keys: Sequence[PublicKey]) -> tuple[bytes, PublicKey]:
    """What was signed, and by whom of those who are believed.

    Raises:
        InvalidError: It is no envelope of a snapshot.
        RefusedError: None of the keys signed it, or it was changed since.
    """
    payload, signatures = _parts(data)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for key in keys:
        for signature in signatures:
            try:
                Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, _signed(payload))
            except (InvalidSignature, ValueError):
                continue
            return payload, key
    listed = ", ".join(dict.fromkeys(key.installation for key in keys))
    raise RefusedError(
        f"the snapshot is not signed by {listed}, or was changed since",
        hint="`reconciler snapshot --public-key`, where the daemon runs, prints the key to give with --snapshot-key",
    )


def _parts(data: bytes) -> tuple[bytes, list[bytes]]:
    try:
        envelope = cast("dict[str, Any]", json.loads(data))
        if envelope["payloadType"] != PAYLOAD_TYPE:
            raise ValueError("another type")
        payload = base64.b64decode(envelope["payload"], validate=True)
        return payload, [base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"][:16]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidError(
            "this is not a signed snapshot", hint="`reconciler snapshot --out FILE` writes one; a daemon has /snapshot"
        ) from error


def _signed(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: type and payload, each with its length."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
