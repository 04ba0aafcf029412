"""Taking secrets out of text that others wrote: a script's last words, an answer to a test.

What we write ourselves holds no secret in the first place (`core.secrets`); this is for the rest.
"""

from __future__ import annotations

import binascii
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "(sensitive)"
# Shorter ones are no secrets, and hiding them would only garble the text.
SHORTEST = 4
_SHORTEST_LINE = 8


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret in it replaced, also where it stands encoded or as one line of several.

    Known are the forms that programs give values on their way into logs and addresses: escaped as in Python and JSON,
    percent-encoded, and Base64, also in the middle of more.

    Args:
        secrets: Their texts; those shorter than `SHORTEST` characters are left alone.
    """
    if not text:
        return text
    for form in sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def _forms(secret: str) -> list[str]:
    lines = [line.strip() for line in secret.splitlines()]
    parts = [secret.strip(), *(line for line in lines if len(line) >= _SHORTEST_LINE)]
    kept = [part for part in parts if len(part) >= SHORTEST]
    found = [form for part in kept for form in _written(part)]
    return found if secret.strip() == secret else [*found, *_written(secret)]


def _written(part: str) -> list[str]:
    data = part.encode("utf-8", "surrogatepass")
    quoted = "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in data)
    plain = [part, repr(part)[1:-1], json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1], quoted]
    return [*plain, quoted.replace("%20", "+"), quoted.lower(), *(_base64(data) if len(data) >= _SHORTEST_LINE else ())]


# RFC 3986 §2.3.
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _base64(data: bytes) -> list[str]:
    """What Base64 of any text with these bytes in it holds: three bytes are four characters, so there are three cases,
    and the characters at both ends are shared with the neighbours."""
    found: list[str] = []
    for before in range(3):
        text = binascii.b2a_base64(bytes(before) + data, newline=False).decode().rstrip("=")
        whole = text[(0, 2, 3)[before] : None if (before + len(data)) % 3 == 0 else -1]
        found += [whole, whole.replace("+", "-").replace("/", "_")]
    return found
