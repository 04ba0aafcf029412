"""What stands behind the addresses of models now: asked by registries, used in resolving, which asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from reconciler.core.dataclass import dataclass


class Watched(NamedTuple):
    """The address of a model, with what its server said when the bytes were those that count.

    Args:
        model: The model's name.
        stamps: `etag`, `lastModified`, `size` as pairs; none means those of the registered version.
    """

    model: str
    uri: str
    stamps: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is known of a watched address.

    Args:
        version: The newest registered version whose bytes came from there; empty for none.
        digest: Its digest.
        moved: How what is there differs from the stamps, in words; empty if it does not, as far as one can tell.
        silent: Why the server did not say, in words.
    """

    version: str = ""
    digest: str | None = None
    moved: str = ""
    silent: str = ""


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How two answers of a server differ, in words; empty if they do not, or have nothing in common.

    An entity tag decides where both have one; a weak one counts like a strong one, since compressing proxies weaken
    them (RFC 9110 §8.8.3).
    """
    keys = ("etag",) if "etag" in then and "etag" in now else ("size", "lastModified", "mtimeNs", "mtime")
    for key in keys:
        if key in then and key in now and _plain(then[key]) != _plain(now[key]):
            return f"{key} was {then[key]}, is {now[key]}"
    return ""


def _plain(value: Any) -> Any:
    return value.removeprefix("W/") if isinstance(value, str) else value
