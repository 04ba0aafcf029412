"""One resource's whole life as a state machine: Git, hands, crashes and lost records in any order, then rest."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from reconciler.core.diff import assign, equal
from reconciler.core.policy import Policy
from reconciler.core.values import lookup, walk

from .model import POLICIES, SPECS, VALUES, Died, Loop, id_of, want

HANDS = st.sampled_from(["a", "b", "m", "upper"])


class Life(RuleBasedStateMachine):
    """Whatever happened, two reconciles later the target is as Git wants it and there is nothing to do."""

    policy = Policy()

    @initialize(spec=SPECS)
    def begin(self, spec: dict[str, Any]) -> None:
        self.loop = Loop()
        self.spec = spec
        self.gone = False

    def desired(self) -> list[Any]:
        return [] if self.gone else [want("one", self.spec, policy=self.policy)]

    @rule(spec=SPECS)
    def commit(self, spec: dict[str, Any]) -> None:
        self.spec, self.gone = spec, False

    @rule(key=HANDS, value=VALUES)
    def commit_field(self, key: str, value: Any) -> None:
        self.spec = {**self.spec, key: value}

    @rule(key=HANDS)
    def commit_removal(self, key: str) -> None:
        self.spec = {k: v for k, v in self.spec.items() if k != key}

    @rule()
    def take_out(self) -> None:
        self.gone = True

    @rule(key=HANDS, value=VALUES)
    def edit_by_hand(self, key: str, value: Any) -> None:
        for id_, observed in list(self.loop.target.records.items()):
            self.loop.target.put(id_, {**observed.spec, key: value}, observed.mark)

    @rule()
    def annotate_by_hand(self) -> None:
        for id_, observed in list(self.loop.target.records.items()):
            self.loop.target.put(id_, assign(observed.spec, "/m/theirs", 1), observed.mark)

    @rule()
    def delete_by_hand(self) -> None:
        self.loop.target.records.clear()

    @rule()
    def lose_the_record(self) -> None:
        self.loop.baselines.clear()

    @rule()
    def reconcile(self) -> None:
        self.loop.reconcile(self.desired())

    @rule(when=st.sampled_from(["before", "after"]))
    def reconcile_and_die(self, when: str) -> None:
        with contextlib.suppress(Died):
            self.loop.reconcile(self.desired(), lambda number, moment: moment == when)

    @rule()
    def rest(self) -> None:
        self.loop.settle(self.desired())
        before = self.loop.target.writes
        self.loop.reconcile(self.desired())
        assert self.loop.target.writes == before
        self.check()

    def check(self) -> None:
        observed = self.loop.target.records.get(id_of("one"))
        assert (observed is None) == self.gone
        if observed is None:
            assert not self.loop.baselines
            return
        assert observed.owned_by("us")
        served = self.loop.target.server(self.spec, self.loop.target.defaults)
        for pointer, value in walk(self.spec):
            assert value == {} or equal(lookup(observed.spec, pointer), lookup(served, pointer)), pointer

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.rest()


class LifeUnderPolicies(Life):
    """The same under rules that leave fields to others."""

    @rule(policy=POLICIES)
    def change_policy(self, policy: Policy) -> None:
        self.policy = policy

    def check(self) -> None:
        """That it came to rest is all that can be said in general."""
