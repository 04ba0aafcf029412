"""Specs as JSON-like values with two more leaves, `Unknown` and secrets; their canonical form, digest and pointers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias, cast

from reconciler.core.dataclass import dataclass
from reconciler.core.secrets import Secret, SecretRef

Value: TypeAlias = (
    "bool | int | float | str | Secret | SecretRef | Unknown | Sequence[Value] | Mapping[str, Value] | None"
)
Spec: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that exists only after another resource was applied.

    Args:
        source: The resource whose outputs will hold it, as `target/kind/name`.
        pointer: JSON pointer into that resource's outputs (`/digest`).
    """

    source: str
    pointer: str

    def __str__(self) -> str:
        return "(known after apply)"


class Missing:
    """The type of `MISSING`: a field that is not there, which is not the same as null."""

    def __repr__(self) -> str:
        return "(absent)"


MISSING = Missing()


def to_json(value: Any, *, refs: bool = False) -> Any:
    """A spec as plain JSON: secrets as fingerprints, references and unknowns as tagged objects.

    Args:
        refs: Secrets keep where they came from. Not for comparing: equal secrets may come from different places.
    """
    return _json(value, refs, False)


def _json(value: Any, refs: bool, whole: bool) -> Any:
    """As `to_json`; with `whole`, integral floats become integers."""
    # The exact types first: to ask what else might be a mapping takes ten times as long.
    kind = cast("object", type(value))
    if kind in _PLAIN:
        return int(value) if whole and kind is float and value.is_integer() else value
    if kind is dict or (kind is not list and isinstance(value, Mapping)):
        items = cast("Mapping[object, object]", value).items()
        return _renamed({str(k): v if type(v) in _FIXED else _json(v, refs, whole) for k, v in items}, 1)
    match value:
        case list() | tuple():
            return [_json(item, refs, whole) for item in cast("Sequence[object]", value)]
        case Secret():
            if not refs or value.ref is None:
                return {"$secret": value.fingerprint}
            return {"$secret": [value.fingerprint, *_ref(value.ref)]}
        case SecretRef():
            return {"$secretRef": _ref(value) if value.digest else str(value)}
        case Unknown():
            return {"$unknown": [value.source, value.pointer]}
        case _:
            return value


def _ref(ref: SecretRef) -> list[str]:
    return [ref.source, ref.name, ref.digest] if ref.digest else [ref.source, ref.name]


def _renamed(items: dict[str, Any], shift: int) -> dict[str, Any]:
    """A map of the user's that looks like one of our tags gets one `$` more on the way out and one less back in."""
    if len(items) != 1:
        return items
    ((key, inner),) = items.items()
    if key.lstrip("$") not in ("secret", "secretRef", "unknown") or key[:1] != "$":
        return items
    return {("$" + key if shift > 0 else key[1:]): inner}


def from_json(value: Any) -> Any:
    """The inverse of `to_json`; secrets come back without their text."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if len(items) == 1:
            (tag, inner), *_ = items.items()
            if tag == "$secret":
                return Secret(str(inner)) if isinstance(inner, str) else Secret(str(inner[0]), SecretRef(*inner[1:]))
            if tag == "$secretRef":
                return SecretRef(*(inner.split(":", 1) if isinstance(inner, str) else inner))
            if tag == "$unknown":
                return Unknown(str(inner[0]), str(inner[1]))
        return {k: from_json(v) for k, v in _renamed(items, -1).items()}
    if isinstance(value, list):
        return [from_json(item) for item in cast("list[Any]", value)]
    return value


def canonical(value: Any) -> str:
    """One spelling for equal values: sorted keys, no blanks, integral floats as integers."""
    # What has no tags and no such floats is written as it is, in a tenth of the time that walking it takes.
    with suppress(TypeError):  # from keys of several types, which have no order
        text = _SORTED.encode(value)
        if _TAG not in text and not _INTEGRAL.search(text):
            return text
    return _SORTED.encode(_json(value, False, True))


def to_text(value: Any, *, refs: bool = False) -> str:
    """The text of `to_json`, without blanks.

    Args:
        refs: As `to_json`.
    """
    text = _PLAINLY.encode(value)
    return _PLAINLY.encode(_json(value, refs, False)) if _TAG in text else text


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def escape(key: str) -> str:
    """One step of a JSON pointer (RFC 6901 §3)."""
    return key.replace("~", "~0").replace("/", "~1")


def split_pointer(pointer: str) -> list[str]:
    """The steps of a JSON pointer (RFC 6901 §4); the empty pointer is the whole value."""
    if not pointer:
        return []
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.removeprefix("/").split("/")]


def lookup(value: Any, pointer: str) -> Any:
    """What a pointer leads to, or `MISSING`."""
    current: Any = value
    for step in split_pointer(pointer):
        if isinstance(current, Mapping):
            current = cast("Mapping[str, Any]", current).get(step, MISSING)
        elif isinstance(current, (list, tuple)):
            items = cast("Sequence[Any]", current)
            current = items[int(step)] if step.isdecimal() and int(step) < len(items) else MISSING
        else:
            return MISSING
        if current is MISSING:
            return MISSING
    return current


def walk(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its pointer; empty lists and maps count as leaves."""
    if isinstance(value, Mapping) and value:
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield from walk(inner, f"{pointer}/{escape(key)}")
    elif isinstance(value, (list, tuple)) and value:
        for index, inner in enumerate(cast("Sequence[Any]", value)):
            yield from walk(inner, f"{pointer}/{index}")
    else:
        yield pointer, value


def transform(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """The same value with every leaf replaced by `leaf(it)`."""
    kind = cast("object", type(value))
    if kind is dict or (kind not in _PLAIN and isinstance(value, Mapping)):
        return {k: transform(v, leaf) for k, v in cast("Mapping[str, Any]", value).items()}
    if kind not in _PLAIN and isinstance(value, (list, tuple)):
        return [transform(item, leaf) for item in cast("Sequence[Any]", value)]
    return leaf(value)


def by_reference(value: Any) -> Any:
    """The value with each secret as the reference it comes from (where that is known): nothing of its text is left."""
    return transform(value, _reference_of) if has_secret(value) else value


def without_secrets(value: Any) -> Any:
    """The value with one and the same mark for every secret and reference."""
    return transform(value, lambda leaf: _SOME_SECRET if isinstance(leaf, (Secret, SecretRef)) else leaf)


_SOME_SECRET = SecretRef("", "")


def _reference_of(leaf: Any) -> Any:
    return (leaf.ref or _SOME_SECRET) if isinstance(leaf, Secret) else leaf


def unknowns(value: Any) -> list[Unknown]:
    """Every `Unknown` in a spec."""
    found: list[Unknown] = []
    _gather(value, (Unknown,), found)
    return found


def references(value: Any) -> list[SecretRef]:
    """Every reference to a secret in a spec."""
    found: list[SecretRef] = []
    _gather(value, (SecretRef,), found)
    return found


def has_secret(value: Any) -> bool:
    """Whether a secret stands anywhere in the value."""
    found: list[Secret | SecretRef] = []
    _gather(value, (Secret, SecretRef), found)
    return bool(found)


def _gather(value: Any, types: tuple[type, ...], found: list[Any]) -> None:
    """Leaves of some types; without the pointers of `walk`, since every spec of a plan is searched."""
    # The exact types first: to ask what else might be a mapping takes ten times as long.
    kind = cast("object", type(value))
    if kind is dict or (kind is not list and isinstance(value, Mapping)):
        inside: Iterable[Any] = cast("Mapping[str, Any]", value).values()
    elif kind is list or kind is tuple:
        inside = cast("Sequence[Any]", value)
    else:
        if isinstance(value, types):
            found.append(value)
        return
    for inner in inside:
        if type(inner) not in _PLAIN:
            _gather(inner, types, found)


def _tagged(leaf: Any) -> Any:
    """What JSON has no word for; a secret, a reference or an unknown gets the tag that makes the text be made again."""
    if isinstance(leaf, Mapping):
        return dict(cast("Mapping[str, Any]", leaf))
    if isinstance(leaf, (Secret, SecretRef, Unknown)):
        return _json(leaf, False, False)
    raise TypeError(f"a {type(leaf).__name__} is no value")


# Where a text has this, a key may be a tag or look like one; inside of a word a quote has a backslash before it.
_TAG = '"$'
_INTEGRAL = re.compile(r"\d\.0[,\]}]|\d\.0\Z|\de\+")
_SORTED = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False, default=_tagged
)
_PLAINLY = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False, default=_tagged)
_FIXED: frozenset[object] = frozenset({str, int, bool, type(None)})
_PLAIN: frozenset[object] = _FIXED | {float}
