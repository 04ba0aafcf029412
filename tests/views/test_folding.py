"""What a service on a cluster consists of is told under one of its objects."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.change import Action, Cause, Change, FieldChange, Plan
from reconciler.core.resources import Desired
from reconciler.views import plan_text
from reconciler.views.folding import folded
from tests.targets.aks.samples import deployment, render
from tests.views.plans import REVISION


def changes(action: Action = Action.CREATE, reason: str = "new in Git") -> list[Change]:
    """One for each object of a service, as the driver renders it; what is deleted has nothing desired."""

    def of(desired: Desired) -> Change:
        kept = desired if action is not Action.DELETE else None
        return Change(desired.id, action, reason, desired.service, desired=kept, depends_on=desired.depends_on)

    return [of(desired) for desired in render(deployment({"replicas": 2}))]


def text(found: list[Change]) -> str:
    """The plan's lines on the service."""
    lines = plan_text.render(Plan(REVISION, changes=tuple(found))).splitlines()
    return "\n".join(line for line in lines[3:] if line.startswith("  "))


def test_one_line_for_what_comes_together() -> None:
    """The others belong to the Deployment, each with what is to be known of it; none is lost."""
    assert text(changes()) == (
        "  + Deployment  cluster/ml:diabetes  ridge:2, 2 replicas  new in Git\n"
        "      with ServiceAccount, Secret diabetes.keys (digests of its keys), NetworkPolicy (port 5001 alone),\n"
        "        PodDisruptionBudget (one replica at a time), Service (port 80)"
    )


def test_what_goes_is_folded_too() -> None:
    """By what needs what: nothing says any more what is wanted."""
    gone = [replace(change, depends_on=()) for change in changes(Action.DELETE, "taken out of Git")]
    needs = {change.id: change.depends_on for change in changes()}
    gone = [replace(c, depends_on=tuple(other for other, before in needs.items() if c.id in before)) for c in gone]
    (fold,) = folded(gone)
    assert fold.change.id.kind == "Deployment"
    assert {change.id for change in fold.under} == {change.id for change in gone} - {fold.change.id}


def test_what_says_more_stands_for_itself() -> None:
    """Field by field, or for another reason."""
    found = changes()
    found[0] = replace(found[0], action=Action.UPDATE, fields=(FieldChange("/a", 1, 2, Cause.DRIFT),))
    found[1] = replace(found[1], reason="gone: it is gone from the target")
    folds = folded(found)
    assert [fold.change for fold in folds if not fold.under] == found[:2]
    shown = [change for fold in folds for change in (fold.change, *fold.under)]
    assert sorted(str(change.id) for change in shown) == sorted(str(change.id) for change in found)
    assert "/a  1 → 2  (drift)" in text(found)


def test_two_are_no_heap() -> None:
    """A single companion is told in full."""
    found = changes()[:2]
    assert [fold.under for fold in folded(found)] == [(), ()]
