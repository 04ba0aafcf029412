"""The rails over whatever may be wanted, seen and recorded: nothing goes unseen, and whoever is refused can go on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.approval import BY_POLICY, Approval
from reconciler.core.change import Action, Change, Plan
from reconciler.core.driver import Capabilities
from reconciler.core.plan import plan
from reconciler.core.policy import Policy
from reconciler.core.resources import (
    Baseline,
    Completeness,
    Desired,
    Health,
    Mark,
    Observation,
    Observed,
    Pending,
    ResourceId,
)
from reconciler.core.safety import standing
from reconciler.core.situation import Origin, Rails, Situation

from .conftest import DEEP, QUICK
from .model import KIND, SPECS, US, Loop, ModelTarget, want

IDS = [ResourceId(target, KIND, name) for target in ("t", "u") for name in "abcd"]
POLICY = st.builds(Policy, prune=st.booleans(), protect=st.booleans(), suspend=st.booleans(), adopt=st.booleans())


@st.composite
def marks(draw: Any, id_: ResourceId) -> Mark | None:
    """Of us, of others, a copy's, or none."""
    installation = draw(st.sampled_from([US, US, US, "them", ""]))
    if not installation:
        return None
    self_ref = str(id_) if draw(st.integers(0, 4)) else "t/thing/original"
    return Mark(installation, id_.name, "r0", draw(st.sampled_from(["", "d"])), self_ref, draw(st.booleans()))


@st.composite
def observations(draw: Any, target: str) -> Observation:
    """Anything that a target may show of itself, whole or not."""
    seen: dict[ResourceId, Observed] = {}
    for id_ in draw(st.permutations([i for i in IDS if i.target == target])):
        if draw(st.booleans()):
            health, busy = draw(st.sampled_from(list(Health))), draw(st.booleans()) and draw(st.booleans())
            seen[id_] = Observed(id_, draw(SPECS), draw(marks(id_)), health, busy=busy)
    completeness = draw(st.sampled_from([Completeness.COMPLETE, *Completeness]))
    if completeness is Completeness.UNAVAILABLE:
        seen = {}
    return Observation(target, completeness, seen, "" if completeness is Completeness.COMPLETE else "page 2")


@st.composite
def baselines(draw: Any) -> dict[ResourceId, Baseline]:
    """Anything that may be recorded, of what is there and of what is not, writes that were begun among it."""
    found: dict[ResourceId, Baseline] = {}
    for id_ in draw(st.permutations(IDS)):
        if draw(st.booleans()):
            spec = draw(SPECS)
            pending = draw(
                st.sampled_from([None, None, Pending("update", "apply", spec), Pending("delete", "apply", None)])
            )
            found[id_] = Baseline(
                id_, id_.name, spec, spec, protect=draw(st.booleans()), prune=draw(st.booleans()), pending=pending
            )
    return found


@st.composite
def situations(draw: Any) -> Situation:
    """Anything that a plan may depend on; what is needed stands before it in the alphabet, so there are no circles."""
    desired: list[Desired] = []
    for number, id_ in enumerate(IDS):
        if draw(st.booleans()):
            needs = draw(st.lists(st.sampled_from(IDS[:number]), max_size=2, unique=True)) if number else []
            desired.append(Desired(id_, draw(SPECS), id_.name, tuple(needs), draw(POLICY)))
    capabilities = Capabilities(frozenset({KIND}), immutable=draw(st.sampled_from([(), ("/a",)])))
    return Situation(
        revision=Loop().situation([]).revision,
        desired=draw(st.permutations(desired)),
        observations={name: draw(observations(name)) for name in draw(st.sampled_from(["tu", "ut", "t"]))},
        capabilities={"t": capabilities, "u": capabilities},
        baselines=draw(baselines()),
        installation=US,
        loaded_whole=draw(st.booleans()),
        removed=frozenset(draw(st.lists(st.sampled_from("abcd"), max_size=3))),
        suspended=frozenset(draw(st.lists(st.sampled_from("abcd"), max_size=1))),
        elsewhere=draw(st.sampled_from([{}, {}, {"t": Origin("/theirs")}, {"t": Origin("", "staging")}])),
        approval=draw(st.sampled_from([{}, {"t": BY_POLICY}])),
        rails=Rails(30.0, draw(st.sampled_from([3, 10]))),
    )


@dataclass(frozen=True)
class Case:
    """A situation with its plan."""

    situation: Situation
    plan: Plan

    def ours(self, id_: ResourceId) -> bool:
        """By its mark, where it is seen."""
        observation = self.situation.observations.get(id_.target)
        observed = observation.resources.get(id_) if observation else None
        return observed is not None and observed.owned_by(US)


CASES = situations().map(lambda situation: Case(situation, plan(situation)))


def adopted(change: Change) -> bool:
    """Taken over as its policy asks, or known to be gone and so nobody's."""
    gone = change.observed is not None and change.observed.health is Health.MISSING and change.observed.mark is None
    return gone or (change.desired is not None and change.desired.policy.adopt)


def holds(case: Case) -> None:
    """What must be so for every plan."""
    situation, made = case.situation, case.plan
    wanted = {desired.id for desired in situation.desired}
    for change in made.effective():
        observation = situation.observations.get(change.id.target)
        assert change.id in wanted or case.ours(change.id) or change.id in situation.baselines, change
        assert observation is not None, change
        if change.action in (Action.DELETE, Action.FORGET):
            assert observation.complete, change
            assert situation.loaded_whole, change
            assert change.id not in wanted, change
        if change.action is Action.DELETE:
            assert case.ours(change.id), change
            assert change.id in situation.baselines, change
        if change.action is Action.CREATE:
            assert observation.complete or change.observed is not None, change
        if change.writes and change.action in (Action.UPDATE, Action.REPLACE):
            assert case.ours(change.id) or adopted(change), change
    for refusal in made.refusals:
        assert refusal.message, refusal
        assert refusal.ways, refusal
        assert all(way.text and bool(way.command) != bool(way.edit) for way in refusal.ways), refusal
        assert "DIGEST" not in refusal.advice, refusal
    # The command that a refusal names lets through what it stops, and an approval of the plan all that one can lift.
    for refusal in made.refusals:
        if refusal.approvable:
            (command,) = [w.command for w in refusal.ways if w.command.startswith("reconciler approve ")]
            assert refusal not in standing(made, [Approval(command.split()[-1])])
    assert all(not refusal.approvable for refusal in standing(made, [Approval(made.digest)]))


def depends_on_no_order(case: Case) -> None:
    """Turned round, all that is given makes the same plan."""
    situation = case.situation
    turned = replace(
        situation,
        desired=list(reversed(list(situation.desired))),
        observations={
            name: replace(o, resources=dict(reversed(o.resources.items())))
            for name, o in reversed(situation.observations.items())
        },
        baselines=dict(reversed(situation.baselines.items())),
    )
    again = plan(turned)
    assert again == case.plan
    assert again.digest == case.plan.digest


@settings(QUICK, max_examples=30)
@given(CASES)
def test_no_plan_goes_too_far_and_no_refusal_is_an_end(case: Case) -> None:
    """Whatever is wanted, seen and recorded, in whatever order."""
    holds(case)
    depends_on_no_order(case)


@pytest.mark.long
@settings(DEEP)
@given(CASES)
def test_no_plan_goes_too_far_searched_deeply(case: Case) -> None:
    """The same with many more."""
    holds(case)
    depends_on_no_order(case)


def test_what_others_live_on_is_forgotten_unless_its_policy_says_to_delete_it() -> None:
    """A deletion is not even planned where the policy that was applied did not ask for it; else it is approved."""
    capabilities = Capabilities(frozenset({KIND}), irreplaceable=frozenset({KIND}))
    for prune, action in ((False, Action.FORGET), (True, Action.DELETE)):
        loop = Loop(ModelTarget(capabilities=capabilities))
        loop.settle([want("one", {}, policy=Policy(prune=prune)), want("two", {})])
        made = plan(loop.situation([want("two", {})]))
        assert [(c.action, c.writes) for c in made.effective()] == [(action, prune)]
        assert [r.code for r in made.refusals] == (["deletes-for-good"] if prune else [])
        assert standing(made, [Approval(made.digest)]) == []


def test_what_others_live_on_is_not_made_anew() -> None:
    """The fields that stand against it are named, those that could be changed are not, and nothing is done."""
    capabilities = Capabilities(frozenset({KIND}), immutable=("/zone",), irreplaceable=frozenset({KIND}))
    loop = Loop(ModelTarget(capabilities=capabilities))
    loop.settle([want("one", {"zone": "a", "size": 1})])
    made = plan(loop.situation([want("one", {"zone": "b", "size": 2})]))
    (refusal,) = made.refusals
    assert (made.empty, refusal.code, refusal.approvable) == (True, "irreplaceable", False)
    assert "/zone" in refusal.message
    assert "/size" not in refusal.message
