"""Plain scalars as values: the core schema of YAML 1.2, with three decisions.

Only `true` and `false` are booleans (`yes`, `no`, `on`, `off` stay text), dates stay text, and digits with a leading
zero stay text.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

# Every text that is more than itself begins with one of these, or is empty.
SPECIAL = frozenset("-+.0123456789~ntfNTF")
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def scalar(text: str) -> Any:
    """The value that an unquoted text stands for.

    Raises:
        OverflowError: It is a number out of range.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        number = int(text) if len(text) <= 20 else 1 << 64
        if -(1 << 63) <= number < 1 << 63:
            return number
    elif _OTHER_BASE.fullmatch(text):
        number = int(text, 0) if len(text) <= 24 else 1 << 64
        if number < 1 << 63:
            return number
    elif _FLOAT.fullmatch(text):
        number = float(text) if len(text) <= 400 else float("inf")
        if isfinite(number):
            return number
    elif not _NOT_FINITE.fullmatch(text):
        return text
    raise OverflowError


def is_text(text: str) -> bool:
    """Whether an unquoted text stands for itself."""
    try:
        return isinstance(scalar(text), str)
    except OverflowError:
        return False
