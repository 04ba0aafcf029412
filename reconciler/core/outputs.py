"""Unknowns: where they come from, and filling them in once their source says what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.core.change import Action, Change
from reconciler.core.dataclass import replace
from reconciler.core.diff import equal
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.values import MISSING, Spec, Unknown, lookup, transform, unknowns

Outputs = Callable[[ResourceId], Mapping[str, Any] | None]


def needs(desired: Desired) -> tuple[ResourceId, ...]:
    """Everything that must be there first: what is declared, and the source of every unknown.

    Where the spec has no unknowns, that is the very tuple that is declared.
    """
    sources = [ResourceId.parse(unknown.source) for unknown in unknowns(desired.spec)]
    return tuple(dict.fromkeys((*desired.depends_on, *sources))) if sources else desired.depends_on


def fill(spec: Spec, outputs: Outputs) -> Spec:
    """The spec with every unknown filled in whose source reports it; the others stay.

    Args:
        outputs: What a resource gives to others, or None while that is not known.
    """
    if not unknowns(spec):
        return spec

    def leaf(value: Any) -> Any:
        if not isinstance(value, Unknown):
            return value
        found = lookup(outputs(ResourceId.parse(value.source)) or {}, value.pointer)
        return value if found is MISSING else found

    return transform(spec, leaf)


def fill_change(change: Change, outputs: Outputs) -> Change:
    """A change with its unknowns filled in, just before it is carried out.

    Fields that turn out to read as before are dropped; an update of which nothing is left becomes a no-op without
    steps.
    """
    if change.desired is None or not unknowns(change.desired.spec):
        return change

    def filled(value: Any) -> Any:
        return fill(value, outputs)

    desired = replace(change.desired, spec=filled(change.desired.spec))
    fields = tuple(replace(field, after=filled(field.after)) for field in change.fields)
    fields = tuple(
        field for field in fields if field.pointer.startswith("/mark/") or not equal(field.before, field.after)
    )
    if change.action is Action.UPDATE and change.fields and not fields:
        return replace(
            change, action=Action.NOOP, reason="nothing changed after all", desired=desired, fields=(), steps=()
        )
    return replace(change, desired=desired, fields=fields)
