"""What a model version is as a resource: its normal form, what may change in it, and the words for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from reconciler.artifacts.models.record import Record, split_name
from reconciler.artifacts.models.transfer import Source
from reconciler.core.deployment import ModelVersion
from reconciler.core.errors import InvalidError, TerminalError
from reconciler.core.problems import Problem, Severity
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.values import Value


def render(model: ModelVersion) -> Desired:
    """A model version as Git wants it.

    `digest` and `size` are there where they are known; `digest` never changes, `properties` only grow.

    Raises:
        InvalidError: The name or version cannot be registered.
    """
    if split_name(model.id.name) is None:
        raise InvalidError(
            f"{model.name}:{model.version} cannot be registered",
            problems=[
                Problem(
                    "model-name",
                    f"{model.name!r} version {model.version!r} cannot be registered",
                    model.position,
                    "names: letters, digits, then also '.', '_', '-', at most 255; versions: positive numbers",
                )
            ],
        )
    source: dict[str, Value] = {"uri": model.uri}
    if not model.uri:
        source = {"path": model.path, "object": model.object_id, "lfs": model.lfs}
    spec: dict[str, Value] = {
        "name": model.name,
        "version": model.version,
        "framework": model.framework,
        "frameworkVersion": model.framework_version,
        "description": model.description,
        "tags": dict(model.tags),
        "properties": dict(model.properties),
        "source": source,
    }
    if model.digest is not None:
        spec["digest"] = model.digest
    if model.size is not None and not model.uri:
        spec["size"] = model.size
    size = f"{human_size(model.size)}  " if model.size is not None else ""
    summary = f"{size}{(model.digest or 'digest known after registering')[:19]}"
    return Desired(model.id, spec, summary=summary)


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


def moved(record: Record, difference: str) -> Problem:
    """The warning that a source changed."""
    uri = Source.of(record.spec).uri
    return Problem(
        "model-source-changed",
        f"the bytes behind {uri} are not those registered any more: {difference}",
        hint="raise the model's version to take the change; what is registered stays as it is",
        subject=f"Model/{record.id.name}",
        severity=Severity.WARNING,
    )


def human_size(count: int | None) -> str:
    """Bytes in words, decimal units."""
    size = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
