"""Values for people and for JSON: secrets masked, unknowns named, control characters made visible."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.secrets import Secret, SecretRef
from reconciler.core.values import MISSING, Unknown, has_secret

SENSITIVE = "(sensitive)"
KNOWN_LATER = "(known after apply)"
ABSENT = "(absent)"
LONGEST = 100
_CONTEXT = 16
# Text that nobody would see the ends of, and text that would read as a value of another type.
_QUOTED = re.compile(r"^$|^\s|\s$|^[\[{(\"]|→")
# Twelve digits tell two digests apart for people, as they do in the summary of a model; JSON has them whole.
_DIGEST = re.compile(r"\b(?:(?:sha256:)?[0-9a-f]{64}|[0-9a-f]{40})\b")
_DIGITS = 12
_AMBIGUOUS = re.compile(r"^[-+.]?\d[\d_.eE+-]*$|^(true|false|null|~)$")


def printable(text: str) -> str:
    """Text with everything escaped that a terminal would act on or a reader could not see."""
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else _escaped(ch) for ch in text)


def _escaped(ch: str) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(ch)
    if short:
        return short
    code = ord(ch)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def paragraph(text: str) -> list[str]:
    """The lines of a longer text (a reason with log lines), each printable."""
    return [printable(line.rstrip()) for line in text.splitlines()] or [""]


def masked(value: Any) -> Any:
    """Plain JSON in which secrets and unknowns are words; nothing of a secret is left, not even its fingerprint."""
    if isinstance(value, Secret):
        return SENSITIVE
    if isinstance(value, SecretRef):
        return f"{SENSITIVE[:-1]}, {value})"
    if isinstance(value, Unknown):
        return KNOWN_LATER
    if isinstance(value, Mapping):
        return {str(k): masked(v) for k, v in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [masked(item) for item in cast("Sequence[object]", value)]
    return value


def shown(value: Any, *, exact: bool = True) -> str:
    """A value on one line: text as it is where that is unmistakable, everything else as JSON.

    Args:
        exact: Text that reads as a number or the like is quoted.
    """
    if value is MISSING:
        return ABSENT
    plain = masked(value)
    if isinstance(plain, str):
        if isinstance(value, str) and (_QUOTED.search(plain) or (exact and _AMBIGUOUS.search(plain))):
            return f'"{printable(plain)}"'
        return printable(plain)
    return printable(json.dumps(plain, sort_keys=True, ensure_ascii=False))


def transition(before: Any, after: Any) -> str:
    """`before → after`, cut to what differs where both are long; secrets say only that they changed."""
    secret_before, secret_after = _is_secret(before), _is_secret(after)
    if secret_before or secret_after:
        if before is MISSING:
            return f"{shown(after)} added"
        if after is MISSING:
            return f"{shown(before)} removed"
        if secret_before and secret_after and shown(before) == shown(after):
            return f"{shown(after)} changed"
    exact = not (isinstance(before, str) and isinstance(after, str))
    one, other = _shortened(shown(before, exact=exact), shown(after, exact=exact))
    if one == other and has_secret([before, after]):
        return f"{_cut(other)} {SENSITIVE} changed"
    if len(one) > LONGEST and len(other) > LONGEST:
        same = _common_prefix(one, other)
        if same > _CONTEXT:
            one, other = f"…{one[same - _CONTEXT :]}", f"…{other[same - _CONTEXT :]}"
    return f"{_cut(one)} → {_cut(other)}"


def _shortened(before: str, after: str) -> tuple[str, str]:
    """Both texts with their digests cut to what people compare, unless that would hide the difference."""
    short = (_DIGEST.sub(_short, before), _DIGEST.sub(_short, after))
    return (before, after) if short[0] == short[1] else short


def _short(digest: re.Match[str]) -> str:
    return digest[0][: digest[0].find(":") + 1 + _DIGITS]


def _is_secret(value: Any) -> bool:
    return isinstance(value, (Secret, SecretRef))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _common_prefix(one: str, other: str) -> int:
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))


def plural(count: int, word: str, many: str = "") -> str:
    """`1 service`, `1,000 services`."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def age(seconds: float) -> str:
    """A duration in its largest unit: `12s`, `3m`, `5h`, `9d`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"
