"""Approvals as values: what one covers, unused and begun, and which targets ask for one."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.approval import (
    BY_POLICY,
    BY_RECORD,
    BY_SETTINGS,
    Approval,
    approval_of,
    demands,
    with_approvals,
)
from reconciler.core.change import Plan
from reconciler.core.plan import plan
from reconciler.core.policy import Policy
from reconciler.core.safety import standing

from .model import Loop, id_of, want


def waiting(loop: Loop, *names: str, **spec: object) -> Plan:
    """The plan of a target that asks for approvals."""
    return plan(loop.situation([want(name, spec) for name in names], approval={"t": BY_POLICY}))


def test_nothing_waits_where_nothing_is_done() -> None:
    """A target in sync asks nobody; what is to be done is counted, with who asks for the approval."""
    loop = Loop()
    made = waiting(loop, "one", "two", a=1)
    (refusal,) = made.refusals
    assert refusal.message == "target t: 2 changes wait for somebody's approval: its policy asks for it"
    assert refusal.waits
    loop.settle([want("one", {"a": 1}), want("two", {"a": 1})])
    assert waiting(loop, "one", "two", a=1).refusals == ()
    assert "a change waits" in waiting(loop, "one", a=1).refusals[0].message


def test_what_only_the_record_needs_waits_for_nobody() -> None:
    """Adopting what is ours by its mark, after the record was lost, calls no target."""
    loop = Loop()
    loop.settle([want("one", {"a": 1})])
    loop.baselines.clear()
    made = waiting(loop, "one", a=1)
    assert not made.empty
    assert made.refusals == ()


def test_an_unused_approval_is_of_a_digest() -> None:
    """Of the plan's or of the target's; of nothing else, whatever else is the same."""
    made = waiting(Loop(), "one", a=1)
    (refusal,) = made.refusals
    assert made.digest != made.digest_for(refusal)
    assert Approval(made.digest).covers(made, refusal)
    assert Approval(made.digest_for(refusal)).covers(made, refusal)
    other = waiting(Loop(), "one", a=2)
    assert not Approval(made.digest).covers(other, other.refusals[0])
    assert not Approval(made.digest_for(refusal)).covers(other, other.refusals[0])


def test_an_approval_that_is_begun_is_of_what_is_left() -> None:
    """Part of its work is covered, in any order; one more resource, another version or a deletion is not."""
    made = waiting(Loop(), "one", "two", a=1)
    begun = Approval(made.digest, "ann", 5.0).begun(made)
    assert set(begun.work or ()) == {id_of("one"), id_of("two")}
    assert (begun.by, begun.at) == ("ann", 5.0)
    less = waiting(Loop(), "two", a=1)
    assert begun.covers(less, less.refusals[0])
    for other in (waiting(Loop(), "one", "two", "three", a=1), waiting(Loop(), "one", a=2)):
        assert not begun.covers(other, other.refusals[0])
    left = begun.without({id_of("one")})
    assert left.covers(less, less.refusals[0])
    assert not left.covers(made, made.refusals[0])
    loop = Loop()
    loop.settle([want("one", {"a": 1}), want("two", {"a": 1})])
    gone = waiting(loop, "two", a=1)
    assert not begun.covers(gone, gone.refusals[0])


def test_an_approval_covers_only_the_targets_it_was_begun_for() -> None:
    """Work at targets that nobody's word is needed for is none of its business."""
    made = waiting(Loop(), "one", a=1)
    assert Approval("0" * 64).begun(made).work == {}


def test_one_approval_lifts_all_that_stops_the_target() -> None:
    """A deletion that a rail stops as well; what is protected no approval lifts."""
    names = [f"s{n}" for n in range(10)]
    loop = Loop()
    loop.settle([want(name, {}) for name in names])
    made = waiting(loop, *names[5:])
    assert [r.code for r in made.refusals] == ["too-many-deletes", "approval-required"]
    assert standing(made, [Approval(made.refusals[1].ways[0].command.split()[2])]) == []
    loop = Loop()
    loop.settle([want("one", {}, policy=Policy(protect=True)), want("two", {})])
    made = waiting(loop, "two", a=1)
    left = standing(made, [Approval(made.digest)])
    assert [r.code for r in left] == ["protected"]


def test_a_plan_says_who_approved_it() -> None:
    """The first approval that covers a refusal; the digest does not change by it."""
    made = waiting(Loop(), "one", a=1)
    told = with_approvals(made, [Approval("0" * 64, "eve"), Approval(made.digest, "ann"), Approval(made.digest, "bob")])
    assert [r.approved for r in told.refusals] == ["ann"]
    assert told.digest == made.digest
    assert with_approvals(made, [Approval("0" * 64, "eve")]) is made
    assert approval_of(told, told.refusals[0], ()) is None
    assert not Approval(made.digest).covers(made, replace(made.refusals[0], approvable=False))


def test_who_asks_for_approvals() -> None:
    """The settings first, whatever the manifests say; registries only by their own name; then policy, then record."""
    found = demands(
        ["prod-eu", "east", "west", "free", "registry/images"], {"east", "prod-eu"}, {"west", "east"}, ["prod-*"]
    )
    assert found == {"prod-eu": BY_SETTINGS, "east": BY_POLICY, "west": BY_RECORD}
    assert demands(["registry/images", "local"], (), (), ["*"]) == {"local": BY_SETTINGS}
    assert demands(["registry/images", "local"], (), (), ["registry/*"]) == {"registry/images": BY_SETTINGS}
