"""The quick way through files as nearly all are: one sound document of mappings, lists and text.

Values are as `yaml` reads them; places are left out, which takes as long as the values. Whatever is out of the ordinary
(tags, anchors, merges, keys that stand twice, any error) is not read here but there, which knows how to tell of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import yaml as pyyaml

from reconciler.manifests.document import Document, Limits, Marks
from reconciler.manifests.scalars import SPECIAL, scalar

# A PyYAML built without libyaml has no CParser; its own loader gives the same events, more slowly.
PARSER: Any = getattr(getattr(pyyaml, "_yaml", None), "CParser", pyyaml.SafeLoader)


class _UnusualError(Exception):
    """Something that is not read here."""


def read_plain(data: bytes, file: str, limits: Limits) -> Document | None:
    """The only document of a file, or None if it is not as simple as that."""
    # A node takes a byte at least, but for one empty value a key.
    if 2 * len(data) + 2 > limits.nodes:
        return None
    take = PARSER(data).get_event
    try:
        take()
        if type(take()) is not pyyaml.DocumentStartEvent:
            return None
        root = take()
        if type(root) is not pyyaml.MappingStartEvent or root.tag is not None or root.anchor is not None:
            return None
        value = _mapping(take, limits.depth)
        take()
        if type(take()) is not pyyaml.StreamEndEvent:
            return None
    except (_UnusualError, OverflowError, pyyaml.YAMLError):
        return None
    mark = root.start_mark
    return Document(value, Marks(file, mark.line + 1, mark.column + 1, text=data))


def _mapping(take: Callable[[], Any], depth: int) -> dict[str, Any]:
    if not depth:
        raise _UnusualError
    value: dict[str, Any] = {}
    text, end = pyyaml.ScalarEvent, pyyaml.MappingEndEvent
    while True:
        event = take()
        kind = type(cast("object", event))
        if kind is end:
            return value
        if kind is not text or event.tag is not None or event.anchor is not None:
            raise _UnusualError
        key = event.value
        if key in value or key == "<<":
            raise _UnusualError
        inner = take()
        value[key] = _text(inner) if type(inner) is text else _nested(take, inner, depth)


def _list(take: Callable[[], Any], depth: int) -> list[Any]:
    if not depth:
        raise _UnusualError
    value: list[Any] = []
    text, end = pyyaml.ScalarEvent, pyyaml.SequenceEndEvent
    while True:
        event = take()
        kind = type(cast("object", event))
        if kind is end:
            return value
        value.append(_text(event) if kind is text else _nested(take, event, depth))


def _nested(take: Callable[[], Any], event: Any, depth: int) -> Any:
    kind = type(cast("object", event))
    if kind is pyyaml.AliasEvent or event.tag is not None or event.anchor is not None:
        raise _UnusualError
    return _mapping(take, depth - 1) if kind is pyyaml.MappingStartEvent else _list(take, depth - 1)


def _text(event: Any) -> Any:
    if event.tag is not None or event.anchor is not None:
        raise _UnusualError
    text = event.value
    return scalar(text) if event.implicit[0] and (not text or text[0] in SPECIAL) else text
