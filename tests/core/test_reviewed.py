"""Whether a reviewed plan still holds, and what of the plan of now it lets through."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.change import Action, Plan, Refusal, Way
from reconciler.core.plan import plan
from reconciler.core.resources import Completeness, Desired, Observation, Pending
from reconciler.core.reviewed import Reviewed, Since, only, since

from .conftest import QUICK
from .model import SPECS, Loop, id_of, want


def reviewed(loop: Loop, desired: list[Desired]) -> tuple[Reviewed, Plan]:
    """The plan of now, reviewed."""
    made = plan(loop.situation(desired))
    return Reviewed.of(made, loop.baselines), made


def now(loop: Loop, desired: list[Desired], before: Reviewed) -> Since:
    """What has changed since."""
    return since(before, plan(loop.situation(desired)), loop.baselines)


def edit(loop: Loop, name: str, **spec: object) -> None:
    """Changes a resource by hand."""
    observed = loop.target.records[id_of(name)]
    loop.target.put(id_of(name), {**observed.spec, **spec}, observed.mark)


def settled(*desired: Desired) -> Loop:
    """A loop at rest."""
    loop = Loop()
    loop.settle(list(desired))
    return loop


@QUICK
@given(st.dictionaries(st.sampled_from("abcdef"), SPECS), st.dictionaries(st.sampled_from("abcdef"), SPECS))
def test_nothing_changed(before: dict[str, object], after: dict[str, object]) -> None:
    """Looking again without a change, every action means the same, and what may run is the whole plan."""
    loop = settled(*(want(name, spec) for name, spec in before.items()))  # type: ignore[arg-type]
    desired = [want(name, spec) for name, spec in after.items()]  # type: ignore[arg-type]
    mine, made = reviewed(loop, desired)
    assert now(loop, desired, mine) == Since()
    assert only(made, mine) == made
    assert Reviewed.from_json(mine.to_json()) == mine


def test_what_the_plan_is_not_about_may_change() -> None:
    """Another service drifted: the plan holds, and what may run is what was reviewed, with its digest."""
    loop = settled(want("a", {"v": 1}), want("b", {"v": 1}))
    desired = [want("a", {"v": 2}), want("b", {"v": 1})]
    mine, made = reviewed(loop, desired)
    edit(loop, "b", v=7)
    found = now(loop, desired, mine)
    assert found.same
    assert found.beside == (id_of("b"),)
    left = only(plan(loop.situation(desired)), mine)
    assert [change.id.name for change in left.effective()] == ["a"]
    assert left.digest == made.digest == mine.digest


def test_what_the_plan_is_about_may_not() -> None:
    """The very resource changed by hand, so that the change would be another one."""
    loop = settled(want("a", {"v": 1, "w": 1}))
    desired = [want("a", {"v": 2, "w": 1})]
    mine, _ = reviewed(loop, desired)
    edit(loop, "a", w=7)
    found = now(loop, desired, mine)
    assert not found.same
    assert found.changed == (id_of("a"),)
    assert only(plan(loop.situation(desired)), mine).empty


def test_what_came_up_in_the_same_service_stands_in_the_way() -> None:
    """A resource of the reviewed service that was in sync and is not any more."""
    more = replace(want("a-more", {"v": 1}), service="a")
    loop = settled(want("a", {"v": 1}), more)
    desired = [want("a", {"v": 2}), more]
    mine, _ = reviewed(loop, desired)
    edit(loop, "a-more", v=7)
    assert now(loop, desired, mine).appeared == (id_of("a-more"),)


def test_what_came_up_below_stands_in_the_way() -> None:
    """What a reviewed resource needs, over any number of steps, has to be as it was."""
    base = want("base", {"v": 1})
    middle = want("middle", {"v": 1}, depends_on=(base.id,))
    loop = settled(base, middle, want("a", {"v": 1}, depends_on=(middle.id,)))
    desired = [base, middle, want("a", {"v": 2}, depends_on=(middle.id,))]
    mine, _ = reviewed(loop, desired)
    edit(loop, "base", v=7)
    assert now(loop, desired, mine).appeared == (base.id,)


def test_what_is_no_longer_to_be_done_is_told() -> None:
    """Drift that was to be healed and that somebody took back is not what was reviewed."""
    desired = [want("a", {"v": 1}), want("b", {"v": 1})]
    loop = settled(*desired)
    edit(loop, "a", v=7)
    mine, _ = reviewed(loop, desired)
    edit(loop, "a", v=1)
    found = now(loop, desired, mine)
    assert (found.vanished, found.done) == ((id_of("a"),), ())
    assert not found.same


def test_what_has_been_carried_out_is_done() -> None:
    """After a run of it the plan still holds, with nothing left to do; deletions too."""
    loop = settled(want("a", {"v": 1}), want("b", {"v": 1}))
    desired = [want("a", {"v": 2}), want("c", {"v": 1})]
    loop.revision += 1
    mine, _ = reviewed(loop, desired)
    loop.revision -= 1
    loop.reconcile(desired)
    found = now(loop, desired, mine)
    assert found.same
    assert {id_.name for id_ in found.done} == {"a", "b", "c"}


def test_what_was_begun_from_the_same_commit_goes_on() -> None:
    """An interrupted run of it is finished, although the change looks another way by now; another commit's is not."""
    loop = settled(want("a", {"v": 1, "w": 1}))
    desired = [want("a", {"v": 2, "w": 2})]
    mine, _ = reviewed(loop, desired)
    edit(loop, "a", v=2)
    for revision, same in ((f"{loop.revision:040x}", True), ("f" * 40, False)):
        pending = Pending("update", "apply", {"v": 2, "w": 2}, revision)
        loop.baselines[id_of("a")] = replace(loop.baselines[id_of("a")], pending=pending)
        made = plan(loop.situation(desired))
        assert since(mine, made, loop.baselines).same is same
        left = only(made, mine.going_on(made, loop.baselines))
        assert [change.action for change in left.effective()] == ([Action.UPDATE] if same else [])


def test_a_target_that_was_not_seen_is_told() -> None:
    """What cannot be looked at cannot be compared."""
    loop = settled(want("a", {"v": 1}))
    desired = [want("a", {"v": 2})]
    mine, _ = reviewed(loop, desired)
    blind = {"t": Observation("t", Completeness.UNAVAILABLE, missing="down")}
    found = since(mine, plan(loop.situation(desired, observations=blind)), loop.baselines)
    assert (found.vanished, found.unseen) == ((id_of("a"),), ("t",))


def test_the_ways_on_of_what_is_left_name_its_own_digest() -> None:
    """Whoever approves what is left of a plan approves what was reviewed."""
    loop = settled(want("a", {"v": 1}), want("b", {"v": 1}))
    desired = [want("a", {"v": 2}), want("b", {"v": 1})]
    mine, made = reviewed(loop, desired)
    edit(loop, "b", v=7)
    whole = plan(loop.situation(desired))
    way = Way("approve", command=f"reconciler approve {whole.digests['t']}")
    whole = replace(whole, refusals=(Refusal("too-many-deletes", "m", "h", ("t",), ways=(way,)),))
    (refusal,) = only(whole, mine).refusals
    assert refusal.ways[0].command == f"reconciler approve {made.digests['t']}"
