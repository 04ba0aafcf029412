"""Which keys a kind knows at a place, for did-you-mean."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from pydantic import BaseModel

from reconciler.core.values import split_pointer

_CONTAINERS: tuple[object, ...] = (list, dict)


def fields_at(kind: type[BaseModel], pointer: str) -> list[str]:
    """The keys that the mapping at a pointer may have; empty where any key may stand."""
    current: Any = kind
    for step in split_pointer(pointer):
        model = _model(current)
        if model is None:
            current = _inner(current)
            continue
        field = next(
            (f for name, f in model.model_fields.items() if step in (f.alias, f.serialization_alias, name)), None
        )
        if field is None:
            return []
        current = field.annotation
    model = _model(current)
    return [] if model is None else [str(f.serialization_alias or f.alias) for f in model.model_fields.values()]


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model an annotation speaks of, through `Annotated` and `| None`, not through lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in _CONTAINERS:
        return None
    return next((model for inner in get_args(annotation) if (model := _model(inner)) is not None), None)


def _inner(annotation: Any) -> Any:
    """What the items of a list or mapping are."""
    if get_origin(annotation) in _CONTAINERS:
        return get_args(annotation)[-1]
    return next((found for inner in get_args(annotation) if (found := _inner(inner)) is not None), None)
