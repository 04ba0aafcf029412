"""Targets whose policy asks for approvals: nothing is done before, just that is done after, and only once."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.errors import UsageError
from reconciler.core.reviewed import Reviewed
from reconciler.core.situation import Rails
from reconciler.engine.approvals import approve, as_shown, revoke
from reconciler.engine.outcome import Outcome
from reconciler.engine.store import Store
from reconciler.engine.summary import exit_code_of, summary_of
from reconciler.targets.memory.faults import Crashed, Fault
from reconciler.targets.memory.world import World
from tests.engine.harness import House, digest_of, service, source

DAY = 86_400.0


@pytest.fixture
def house(store: Store, clock: Any) -> House:
    """East asks for approvals, west does not."""
    return House(store, clock, {"east": World(), "west": World()}, approval=frozenset({"east"}))


def say_yes(house: House, outcome: Outcome, by: str = "ann") -> str:
    """Approves what waits at the one target that does; its digest."""
    (refusal,) = outcome.refusals
    digest = outcome.plan.digest_for(refusal)
    assert refusal.ways[0].command == f"reconciler approve {digest}"
    approve(house.store, digest, by, house.clock.now())
    return digest


def codes(outcome: Outcome) -> list[str]:
    """Of what was stopped."""
    return [refusal.code for refusal in outcome.refusals]


def test_nothing_is_done_until_somebody_says_yes_and_then_just_that(house: House) -> None:
    """Others go on; the record says who and when; the approval is used up, and the next change needs its own."""
    house.want(service("a"), service("b", "west"))
    outcome = house.go(by="bob")
    assert codes(outcome) == ["approval-required"]
    assert exit_code_of(outcome) == 13
    (told,) = summary_of(outcome).refusals
    digest, then = say_yes(house, outcome), house.clock.now()
    assert f"reconciler approve {digest}" in told.hint
    assert house.worlds["east"].names() == []
    assert house.worlds["west"].names() == ["service/b"]

    assert exit_code_of(house.go(by="bob")) == 0
    assert house.worlds["east"].names() == ["service/a"]
    assert house.store.approvals() == {}
    applied, approved, *_ = house.store.history()
    assert (approved.outcome, approved.data["by"], approved.at) == ("approved", "ann", then)
    (lifted,) = applied.data["lifted"]
    assert (lifted["code"], lifted["by"]) == ("approval-required", "ann")

    house.worlds["east"].remove("service/a")
    assert codes(house.go()) == ["approval-required"]
    assert house.worlds["east"].names() == []


def test_what_needs_something_that_waits_waits_too(house: House) -> None:
    """A service elsewhere is not carried out before what it is made of."""
    made = source("image", "bytes", "east")
    house.want(service("a", "west", image=digest_of(made), needs=[str(made.id)]), made, service("b", "west"))
    outcome = house.go()
    assert [str(r.id) for r in outcome.results] == ["west/service/b"]
    say_yes(house, outcome)
    house.go()
    assert house.worlds["west"].names() == ["service/a", "service/b"]


def test_what_is_still_in_use_at_a_target_that_waits_stays(house: House) -> None:
    """A deletion elsewhere that would break what runs where nothing may be done yet."""
    house.approval = frozenset()
    made = source("image", "bytes", "west")
    house.want(service("a", image=digest_of(made), needs=[str(made.id)]), made, service("keep", "west"))
    house.go()
    house.approval = frozenset({"east"})
    house.want(service("a", image="plain"), service("keep", "west"))
    outcome = house.go()
    assert house.worlds["west"].names() == ["service/keep", "source/image"]
    say_yes(house, outcome)
    house.go()
    house.go()
    assert house.worlds["west"].names() == ["service/keep"]


def test_another_plan_supersedes_and_a_commit_that_does_not_concern_it_does_not(house: House) -> None:
    """An approval is of what is done at the target."""
    house.want(service("a"), service("b", "west"))
    say_yes(house, house.go())
    house.want(service("a", image="two"), service("b", "west"))
    assert codes(house.go()) == ["approval-required"]
    house.want(service("a"), service("b", "west", image="two"))
    assert codes(house.go()) == []
    assert house.worlds["east"].native("service/a")["image"] == "one"  # type: ignore[index]


@pytest.mark.parametrize("error", ["403", "crash"])
def test_an_interrupted_run_goes_on_under_its_approval(house: House, error: str) -> None:
    """What is left is approved still, until a newer commit wants something else of it."""
    house.want(service("a", kind="plain"), service("b", kind="plain"))
    say_yes(house, house.go())
    house.worlds["east"].fault(Fault("write", error, name="plain/b"))
    if error == "crash":
        with pytest.raises(Crashed):
            house.go(wait=False)
    else:
        house.go(wait=False)
    assert house.store.approvals()
    house.want(service("a", kind="plain"), service("b", kind="plain", image="two"))
    assert codes(house.go(ignore_holds=True)) == ["approval-required"]
    house.want(service("a", kind="plain"), service("b", kind="plain"))
    assert codes(house.go(ignore_holds=True)) == []
    assert house.worlds["east"].names() == ["plain/a", "plain/b"]
    assert house.store.approvals() == {}


def test_what_is_shown_to_be_approved_is_what_waits_for_its_time_too(house: House) -> None:
    """A change that failed lately is in the plan that people see."""
    house.want(service("a", kind="plain"), service("b", kind="plain"))
    say_yes(house, house.go())
    house.worlds["east"].fault(Fault("write", "422", name="plain/b"))
    house.go(wait=False)
    with house.store.writing("test"):
        shown = as_shown(house.reconciler.look())
    assert [str(change.id) for change in shown.effective()] == ["east/plain/b"]
    assert shown.digest == house.reconciler.look(holds=False).plan.digest


def test_taking_the_demand_back_takes_a_merge_of_its_own(house: House) -> None:
    """A commit that both changes the target and asks for no approval any more is held to the old policy."""
    house.want(service("a"))
    say_yes(house, house.go())
    house.go()
    house.approval = frozenset()
    house.want(service("a", image="two"))
    outcome = house.go()
    assert "taking that back takes a merge of its own" in outcome.refusals[0].message
    house.want(service("a"))
    assert not house.go().refusals
    house.want(service("a", image="two"))
    assert not house.go().refusals
    assert house.worlds["east"].native("service/a")["image"] == "two"  # type: ignore[index]


def test_the_operators_word_counts_whatever_the_manifests_say(house: House) -> None:
    """By a pattern in the settings."""
    house.reconciler.rails = Rails(approval_targets=("w*",))
    house.want(service("b", "west"))
    (refusal,) = house.go().refusals
    assert refusal.message == "target west: a change waits for somebody's approval: the operator's settings ask for it"


def test_deletes_need_the_word_and_no_second_one_for_the_rails(house: House) -> None:
    """One approval of the plan covers both; deleting is seen twice, as ever."""
    house.approval = frozenset()
    names = [f"s{n:02}" for n in range(10)]
    house.want(*map(service, names))
    house.go()
    house.approval = frozenset({"east"})
    house.want(*map(service, names[5:]))
    outcome = house.go()
    assert sorted(codes(outcome)) == ["approval-required", "too-many-deletes"]
    approve(house.store, outcome.plan.digest, "ann", house.clock.now())
    assert codes(house.go()) == []
    assert house.worlds["east"].names() == [f"service/{name}" for name in names[5:]]
    assert house.store.approvals() == {}


def test_an_approval_lapses_and_can_be_taken_back(house: House, clock: Any) -> None:
    """After the days of the settings, or by whoever regrets it; the history has both."""
    house.want(service("a"))
    say_yes(house, house.go())
    clock.advance(7 * DAY + 1)
    outcome = house.go()
    assert codes(outcome) == ["approval-required"]
    digest = say_yes(house, outcome)
    revoke(house.store, digest, "bob", clock.now())
    assert codes(house.go()) == ["approval-required"]
    assert [a.outcome for a in house.store.history(2)] == ["revoked", "approved"]
    with pytest.raises(UsageError, match="nothing is approved under"):
        revoke(house.store, digest, "bob", clock.now())


def test_a_saved_plan_is_approved_by_the_digest_it_shows(house: House) -> None:
    """What came up since beside it is neither carried out nor in the way."""
    house.want(service("a"), service("b"))
    look = house.reconciler.look(holds=False)
    saved = Reviewed.of(look.plan, look.situation.baselines)
    approve(house.store, look.plan.digest, "ann", house.clock.now())
    house.want(service("a"), service("b"), service("c"))
    assert codes(house.go()) == ["approval-required"]
    outcome = house.go(only=saved)
    assert sorted(str(r.id) for r in outcome.results) == ["east/service/a", "east/service/b"]
    assert house.store.approvals() == {}


def test_what_is_left_of_a_saved_plan_is_approved_by_its_digest_too(house: House) -> None:
    """Part of it was carried out before somebody said yes to the rest."""
    house.want(service("a"), service("b", "west"))
    look = house.reconciler.look(holds=False)
    saved = Reviewed.of(look.plan, look.situation.baselines)
    assert codes(house.go(only=saved)) == ["approval-required"]
    assert house.worlds["west"].names() == ["service/b"]
    approve(house.store, saved.digest, "ann", house.clock.now())
    assert codes(house.go()) == ["approval-required"]
    assert codes(house.go(only=saved)) == []
    assert house.worlds["east"].names() == ["service/a"]
    assert house.store.approvals() == {}
