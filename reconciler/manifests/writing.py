"""Plain values as YAML that our own parser reads back as the very same values, with a comment at the end of a line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from reconciler.core.values import escape
from reconciler.manifests.scalars import is_text

Comment: TypeAlias = Callable[[str], str]
# Without quotes only what no YAML parser takes for anything but text.
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+=@()-]*(?:(?::|,? )[A-Za-z0-9_./+=@()-]+)*")
_OTHER_WORDS = re.compile(r"y|n|yes|no|on|off|\.?[0-9].*", re.IGNORECASE)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_WIDEST = 64
_LONGEST_LIST = 90


def to_yaml(value: Any, comment: Comment = lambda pointer: "") -> str:
    """A document in block style; ends with a newline.

    Args:
        comment: What to say of the value at a pointer, in one line; "" for nothing. Asked of leaves alone.
    """
    lines = list(_lines(value, "", comment))
    width = min(_WIDEST, max((len(text) for text, said in lines if said), default=0))
    return "".join(f"{text:<{width}}  # {said}\n" if said else f"{text}\n" for text, said in lines)


def scalar(value: Any) -> str:
    """A single value as it stands in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # YAML 1.1 takes a number with an exponent for text unless it has a point.
        mantissa, e, exponent = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa or not e else f'{mantissa}.0'}{e}{exponent}"
    return str(value) if isinstance(value, int) else text(str(value))


def text(value: str) -> str:
    """A text, in quotes where it would else be read as something different."""
    if _PLAIN.fullmatch(value) and value[:3] != "..." and is_text(value) and not _OTHER_WORDS.fullmatch(value):
        return value
    return quoted(value)


def quoted(value: str) -> str:
    """A text in double quotes."""
    return '"' + "".join(_character(each) for each in value) + '"'


def _character(each: str) -> str:
    if each in _ESCAPES:
        return _ESCAPES[each]
    if each.isprintable():
        return each
    code = ord(each)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _lines(value: Any, pointer: str, comment: Comment) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield from _entry(f"{text(key)}:", inner, f"{pointer}/{escape(key)}", comment)
    elif isinstance(value, (list, tuple)) and value:
        short = _short(value)
        if short:
            yield short, comment(_first(value, pointer))
            return
        for index, inner in enumerate(cast("list[Any]", value)):
            yield from _item(inner, f"{pointer}/{index}", comment)
    else:
        yield _leaf(value), comment(pointer)


def _entry(head: str, value: Any, pointer: str, comment: Comment) -> Iterator[tuple[str, str]]:
    if _nested(value):
        short = "" if isinstance(value, Mapping) else _short(value)
        if short:
            yield f"{head} {short}", comment(_first(value, pointer))
            return
        yield head, ""
        yield from ((f"  {line}", said) for line, said in _lines(value, pointer, comment))
    else:
        yield f"{head} {_leaf(value)}", comment(pointer)


def _item(value: Any, pointer: str, comment: Comment) -> Iterator[tuple[str, str]]:
    lead = "- "
    for line, said in _lines(value, pointer, comment):
        yield f"{lead}{line}", said
        lead = "  "


def _short(value: Any) -> str:
    """A list of single values, or of such lists, in one line; "" if it is none or too long for one."""
    parts: list[str] = []
    for item in cast("list[Any]", value):
        part = _short(item) if isinstance(item, (list, tuple)) and item else _leaf(item)
        if not part or (isinstance(item, Mapping) and item) or ("," in part and isinstance(item, str)):
            return ""
        parts.append(part)
    line = f"[{', '.join(parts)}]"
    return line if len(line) <= _LONGEST_LIST else ""


def _first(value: Any, pointer: str) -> str:
    """The pointer to the first leaf of a list."""
    while _nested(value):
        value, pointer = value[0], f"{pointer}/0"
    return pointer


def _nested(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple)) and bool(cast("Any", value))


def _leaf(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    return "[]" if isinstance(value, (list, tuple)) else scalar(value)
