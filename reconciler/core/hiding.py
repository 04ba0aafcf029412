"""Taking secrets out of text that others wrote: a script's last words, an answer to a test.

What we write ourselves holds no secret in the first place (`core.secrets`); this is for the rest.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "(sensitive)"
# Shorter ones are no secrets, and hiding them would only garble the text.
SHORTEST = 4
_SHORTEST_LINE = 8


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret in it replaced, also where it stands escaped or as one line of several.

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
    return [form for part in kept for form in (part, repr(part)[1:-1], json.dumps(part)[1:-1])]
