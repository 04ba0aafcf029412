"""Overlays and the documents they make, held against the kinds."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from reconciler.core.problems import Problem
from reconciler.manifests.kinds.overlay import partial_spec_of, spec_of
from reconciler.manifests.repo import Places
from reconciler.manifests.validate import problems_of


def check_overrides(overrides: list[dict[str, Any]], document: dict[str, Any], marks: Places) -> list[Problem]:
    """What an overlay's overrides say that their kinds do not know; what they say is brought into normal form in place.

    Args:
        document: The whole overlay as it was written.
    """
    problems: list[Problem] = []
    for index, override in enumerate(overrides):
        if override.get("spec") is None:
            continue
        kind = partial_spec_of(override["kind"])
        try:
            model = kind.model_validate(override["spec"])
        except ValidationError as error:
            problems += problems_of(error, document, marks, kind, ("spec", "overrides", index, "spec"))
        else:
            override["spec"] = model.model_dump(by_alias=True, exclude_unset=True)
    return problems


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
    return found.model_dump(by_alias=True, exclude_unset=True), []
