"""Kinds of which any part may be given: what an overlay says of a document, with the same keys and short forms."""

from __future__ import annotations

from copy import copy
from functools import cache
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from reconciler.manifests.kinds.base import Shorthand, Strict


@cache
def partial(model: type[BaseModel]) -> type[Strict]:
    """The same mapping with nothing required, mappings in it likewise.

    What counts as one value stays whole: items of lists, variables, secrets. What a kind demands of its keys together
    is asked of the document that results.
    """
    fields = {name: (_annotation(info), _field(info)) for name, info in model.model_fields.items()}
    return create_model(
        f"{model.__name__}Overlay", __base__=Strict, __module__=__name__, __doc__=model.__doc__, **cast("Any", fields)
    )


def _field(info: FieldInfo) -> FieldInfo:
    found = copy(info)
    found.default, found.default_factory = None, None
    return found


def _annotation(info: FieldInfo) -> Any:
    if any(isinstance(each, Shorthand) for each in info.metadata):
        return info.annotation
    return _partial(info.annotation)


def _partial(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return partial(annotation)
    if get_origin(annotation) in (UnionType, Union):
        return Union[tuple(_partial(inner) for inner in get_args(annotation))]  # noqa: UP007  made at run time
    return cast("Any", annotation)
