"""Overlays and the documents they make, held against the kinds."""

from __future__ import annotations

from typing import Any, cast

from pydantic import ValidationError

from reconciler.core.problems import Problem
from reconciler.core.values import lookup
from reconciler.manifests.kinds.overlay import DOCUMENT_KINDS, partial_spec_of, spec_of
from reconciler.manifests.repo import Places
from reconciler.manifests.validate import given, problems_of


def check_overrides(document: dict[str, Any], marks: Places) -> tuple[dict[int, dict[str, Any]], list[Problem]]:
    """The normal form of what each override says of a `spec`, by index, and what its kind does not know of it.

    Args:
        document: The whole overlay as it was written, in which other things may be wrong.
    """
    overrides = lookup(document, "/spec/overrides")
    found: dict[int, dict[str, Any]] = {}
    problems: list[Problem] = []
    for index, override in enumerate(cast("list[Any]", overrides) if isinstance(overrides, list) else ()):
        kind, spec = lookup(override, "/kind"), lookup(override, "/spec")
        if not isinstance(kind, str) or kind not in DOCUMENT_KINDS or not isinstance(spec, dict):
            continue
        model = partial_spec_of(kind)
        try:
            found[index] = model.model_validate(spec).model_dump(by_alias=True, exclude_unset=True)
        except ValidationError as error:
            problems += problems_of(error, document, marks, model, ("spec", "overrides", index, "spec"))
    return found, problems


def checked(kind: str, name: str, spec: Any, places: Places) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The normal form of a `spec` that overlays made, or what is wrong with it.

    Args:
        places: Where the causes of problems stand.
    """
    model = spec_of(kind)
    try:
        found = model.model_validate(spec)
    except ValidationError as error:
        document = {"kind": kind, "metadata": {"name": name}, "spec": spec}
        return None, problems_of(error, document, places, model, ("spec",))
    return given(found.model_dump(by_alias=True, exclude_unset=True)), []
