"""What a plan remembers of the last one changes nothing but the work that it takes."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.change import Action
from reconciler.core.changed import changed_keys, changed_places
from reconciler.core.errors import InvalidError
from reconciler.core.memo import Memo, begin
from reconciler.core.plan import plan
from reconciler.core.policy import Policy
from reconciler.core.resources import Baseline, Completeness, Desired, Health, Observation, Observed
from reconciler.core.values import Unknown

from .conftest import DEEP, QUICK
from .model import POLICIES, SPECS, Died, Loop, id_of, want
from .test_plan import actions, replace_mark

NAMES = st.sampled_from("abcdef")
EDITS = st.one_of(
    st.tuples(st.just("want"), NAMES, SPECS, POLICIES, st.lists(NAMES, max_size=2)),
    st.tuples(st.just("unknown"), NAMES, NAMES),
    st.tuples(st.sampled_from(["drop", "protect", "move", "edit", "sicken", "clear", "strange", "forget"]), NAMES),
    st.tuples(st.sampled_from(["suspend", "blind", "half-blind", "rest", "die", "nothing"])),
)
HISTORY = st.lists(st.lists(EDITS, min_size=1, max_size=3), min_size=1, max_size=8)


class Histories:
    """Edits of all three sides of what is at rest, where what nobody edits stays the same object."""

    def __init__(self) -> None:
        self.loop, self.memo = Loop(), Memo()
        self.desired: dict[str, Desired] = {name: want(name, {"a": 1}) for name in "abcd"}
        self.more: dict[str, Any] = {}
        self.loop.settle(list(self.desired.values()))
        self.look()

    def edit(self, what: str, name: str = "", *more: Any) -> None:
        """One edit; those of single looks do not last."""
        records, id_ = self.loop.target.records, id_of(name)
        there = records.get(id_)
        match what:
            case "want":
                spec, policy, first = more
                needed = tuple(id_of(other) for other in first if other < name)
                self.desired[name] = want(name, spec, policy=policy, depends_on=needed)
            case "unknown":
                self.desired[name] = want(name, {"v": Unknown(str(id_of(more[0])), "/out")})
            case "drop":
                self.desired.pop(name, None)
            case "protect" if name in self.desired:
                self.desired[name] = replace(self.desired[name], policy=Policy(protect=True))
            case "move":
                before = sorted(self.desired)[0] if self.desired else name
                moved = self.desired.pop(before, want(name, {}))
                self.desired[name] = replace(moved, id=id_, service=name)
                self.more["moves"] = {name: before}
            case "edit":
                self.loop.target.put(id_, {"a": "by hand"}, there.mark if there else None)
            case "sicken" if there is not None:
                records[id_] = replace(there, health=Health.DEGRADED, outputs={"out": len(records)})
            case "clear":
                records.pop(id_, None)
            case "strange":
                self.loop.target.put(id_of(name + "-copy"), {"a": 1}, replace_mark(name + "-copy"))
            case "forget":
                self.loop.baselines.pop(id_, None)
            case "suspend":
                self.more["suspended"] = frozenset("abc")
            case "blind":
                self.more["observations"] = {"t": Observation("t", Completeness.UNAVAILABLE, missing="down")}
            case "half-blind":
                half = dict(list(records.items())[::2])
                self.more["observations"] = {"t": Observation("t", Completeness.PARTIAL, half, "page 2")}
            case "rest" | "die":
                self.carry_out(dies=what == "die")

    def look(self) -> None:
        """A plan with what is remembered is the plan without, twice; so is the circle that there may be."""
        situation = self.loop.situation(list(self.desired.values()), **self.more)
        self.more = {}
        with contextlib.suppress(InvalidError):
            fresh = plan(situation)
            assert plan(situation, self.memo) == fresh
            assert plan(situation, self.memo) == fresh
            return
        with pytest.raises(InvalidError, match="circle"):
            plan(situation, self.memo)

    def carry_out(self, *, dies: bool) -> None:
        """Applies the plan, all of it or up to a crash."""
        with contextlib.suppress(Died, InvalidError):
            self.loop.reconcile(list(self.desired.values()), lambda number, when: dies and number == 2, **self.more)


def holds(history: list[list[tuple[Any, ...]]]) -> None:
    """Whatever is edited between two looks, and while it lasts."""
    life = Histories()
    for edits in history:
        for edit in edits:
            life.edit(*edit)
        life.look()


@QUICK
@given(HISTORY)
def test_remembering_changes_nothing(history: list[list[tuple[Any, ...]]]) -> None:
    """A plan with a memo of earlier plans equals the plan without."""
    holds(history)


@pytest.mark.long
@settings(DEEP)
@given(HISTORY)
def test_remembering_changes_nothing_searched_deeply(history: list[list[tuple[Any, ...]]]) -> None:
    """The same with many more."""
    holds(history)


def test_only_what_changed_is_walked() -> None:
    """At rest nothing is looked at again; then what has another side, what needed something, and no other."""
    loop, memo = Loop(), Memo()
    desired = [want(name, {"a": 1}) for name in "abcd"]
    loop.settle(desired)
    records = loop.target.records

    def walked() -> list[str]:
        situation = loop.situation(desired)
        ids = [id_.name for id_ in begin(situation, memo).ids]
        assert plan(situation, memo) == plan(situation)
        return ids

    assert [walked(), walked()] == [["a", "b", "c", "d"], []]
    desired[2] = want("c", {"a": 2})
    assert [walked(), walked()] == [["c"], ["c"]]
    loop.settle(desired)
    records[id_of("b")] = replace(records[id_of("b")], health=Health.DEGRADED)
    assert [walked(), walked()] == [["b", "c"], []]
    loop.baselines[id_of("a")] = replace(loop.baselines[id_of("a")], revision="another")
    assert [walked(), walked()] == [["a"], []]
    desired[3] = replace(desired[3], depends_on=(id_of("a"),))
    assert [walked(), walked()] == [["a", "b", "c", "d"], ["d"]]
    del desired[1]
    assert [walked(), walked()] == [["a", "c", "d"], ["d"]]
    assert len(memo.outcomes) <= len(desired)


def test_a_memo_does_not_hide_an_output_that_changed() -> None:
    """A resource with an unknown is looked at again although nothing of its own changed."""
    loop, memo = Loop(), Memo()
    source, user = want("source", {"a": 1}), want("user", {"v": Unknown("t/thing/source", "/out")})
    desired = [source, user]
    observed = Observed(source.id, {"a": 1}, replace_mark("source", spec_digest=source.spec_digest), outputs={"out": 1})
    mine = Observed(user.id, {"v": 1}, replace_mark("user", spec_digest=user.spec_digest))
    baselines = {
        source.id: Baseline(source.id, "source", {"a": 1}, {"a": 1}, outputs={"out": 1}),
        user.id: Baseline(user.id, "user", {"v": 1}, {"v": 1}, depends_on=(source.id,)),
    }
    for out, wanted in ((1, {}), (2, {"user": Action.UPDATE})):
        seen = {source.id: replace(observed, outputs={"out": out}), user.id: mine}
        situation = loop.situation(
            desired, baselines=baselines, observations={"t": Observation("t", Completeness.COMPLETE, seen)}
        )
        assert actions(plan(situation, memo)) == wanted


def test_changes_are_told_by_reference() -> None:
    """Equal values of other identity count as changed; other keys, another order or another length tell nothing."""
    one, equal = [1], [1]
    assert changed_places([one, one], [one, equal]) == [1]
    assert changed_places([one], [one, one]) is None
    assert changed_keys({"a": one, "b": one}, {"a": equal, "b": one}) == ["a"]
    assert changed_keys({"a": one, "b": one}, {"b": one, "a": one}) is None
    assert changed_keys({"a": one}, {}) is None
