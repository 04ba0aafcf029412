"""What a model version is as a resource: its normal form, what may change in it, and the words for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from reconciler.artifacts.models.record import Record
from reconciler.artifacts.models.transfer import Source
from reconciler.core.errors import TerminalError
from reconciler.core.resources import ResourceId


def refuse_other_bytes(resource: ResourceId, record: Record, spec: Mapping[str, Any]) -> None:
    wanted = spec.get("digest")
    if wanted is not None and wanted != record.digest:
        raise other_bytes(resource, record.digest, str(wanted))
    before = cast("Mapping[str, str]", record.spec.get("properties") or {})
    after = cast("Mapping[str, str]", spec.get("properties") or {})
    for key, value in before.items():
        if after.get(key) != value:
            raise TerminalError(
                f"{resource}: property {key!r} is {value!r} and cannot become {after.get(key)!r}",
                hint="properties may be added, not changed; use tags for what changes, or register a new version",
            )


def other_bytes(resource: ResourceId, before: str, after: str) -> TerminalError:
    """The error that says both digests."""
    return TerminalError(
        f"{resource} is registered with {before}, the manifest now names {after}: versions do not change",
        hint="raise the version, or leave it out so that the next number is taken",
    )


def moves(record: Record, spec: Mapping[str, Any]) -> bool:
    """Whether the bytes are to come from another address than they came from."""
    return Source.of(record.spec).uri != Source.of(spec).uri
