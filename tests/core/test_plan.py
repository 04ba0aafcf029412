"""Planning: what is done, what is left alone, what is refused, and that it depends on nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.approval import Approval
from reconciler.core.change import Action, Blocked, Cause, Disruption, Plan, Step
from reconciler.core.driver import Capabilities
from reconciler.core.errors import InvalidError
from reconciler.core.plan import fingerprint_of, plan
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Problem, Severity
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
    Staged,
)
from reconciler.core.safety import standing
from reconciler.core.secrets import SecretRef, seal
from reconciler.core.situation import Hold, Rails, Situation
from reconciler.core.smoke import SmokeTest
from reconciler.core.values import Unknown

from .conftest import QUICK
from .model import KIND, SPECS, US, Loop, ModelTarget, id_of, want


def served(*names: str, spec: Mapping[str, Any] | None = None, **more: Any) -> tuple[Loop, list[Desired]]:
    """A loop at rest over some resources."""
    loop = Loop()
    desired = [want(name, spec if spec is not None else {"a": 1}, **more) for name in names]
    loop.settle(desired)
    return loop, desired


def actions(made: Plan) -> dict[str, Action]:
    """What is done, by name."""
    return {c.id.name: c.action for c in made.effective()}


def partial(loop: Loop, *, without: Sequence[str] = ()) -> dict[str, Observation]:
    """What is seen when a listing breaks off."""
    seen = {i: o for i, o in loop.target.records.items() if i.name not in without}
    return {"t": Observation("t", Completeness.PARTIAL, seen, "page 2")}


# Order, digests


@QUICK
@given(st.dictionaries(st.sampled_from("abcdef"), SPECS, min_size=1), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_order(specs: dict[str, Any], random: Any) -> None:
    """The same resources in any order give the same plan and the same digest."""
    desired = [want(name, spec) for name, spec in specs.items()]
    loop = Loop()
    loop.reconcile(desired[::2])
    shuffled = random.sample(desired, len(desired))
    one, other = plan(loop.situation(desired)), plan(loop.situation(shuffled))
    assert one == other
    assert one.digest == other.digest
    assert fingerprint_of(desired) == fingerprint_of(shuffled)


@QUICK
@given(st.dictionaries(st.sampled_from("abcdef"), SPECS), st.dictionaries(st.sampled_from("abcdef"), SPECS))
def test_a_plan_touches_only_what_is_wanted_or_ours(before: dict[str, Any], after: dict[str, Any]) -> None:
    """No change is about anything outside of what Git names and what we own; foreign things and copies stay."""
    loop = Loop()
    foreign = loop.target.put(id_of("foreign"), {"x": 1}, None)
    other = loop.target.put(id_of("other"), {"x": 1}, replace_mark("other", installation="them"))
    loop.settle([want(name, spec) for name, spec in before.items()])
    for name in before:
        loop.target.put(id_of(name + "-copy"), {"x": 1}, loop.target.records[id_of(name)].mark)
    made = loop.settle([want(name, spec) for name, spec in after.items()])
    assert {c.id.name for c in made.changes} <= before.keys() | after.keys()
    assert loop.target.records[foreign.id] == foreign
    assert loop.target.records[other.id] == other
    assert {i.name for i in loop.target.records} == {*after, "foreign", "other", *(n + "-copy" for n in before)}


def replace_mark(name: str, **more: Any) -> Mark:
    """A mark that is ours but for what is said."""
    return replace(Mark(US, name, "r", "d", str(id_of(name))), **more)


def test_work_grows_with_the_number_of_resources() -> None:
    """Ten times the resources are at most eleven times the comparisons, counted, not timed."""

    class Counted(dict[str, Any]):
        """A spec that counts how often it is looked into."""

        looks = 0

        def items(self) -> Any:
            Counted.looks += 1
            return super().items()

        def keys(self) -> Any:
            Counted.looks += 1
            return super().keys()

        def get(self, key: str, default: Any = None) -> Any:
            Counted.looks += 1
            return super().get(key, default)

    def looks(count: int) -> int:
        desired = [want(f"s{n}", Counted(a=n, b=Counted(c=n))) for n in range(count)]
        loop = Loop()
        loop.reconcile(desired)
        Counted.looks = 0
        assert plan(loop.situation(desired)).empty
        loop.target.records = {i: replace(o, spec={**o.spec, "a": -1}) for i, o in loop.target.records.items()}
        assert plan(loop.situation(desired)).count(Action.UPDATE) == count
        return Counted.looks

    assert looks(500) <= 11 * looks(50)


# Creating, updating, recording


def test_a_new_resource_is_created_once() -> None:
    """What is new in Git is created, with its mark; afterwards there is nothing to do."""
    loop, desired = Loop(), [want("one", {"a": 1}, policy=Policy(protect=True))]
    (change,) = plan(loop.situation(desired)).effective()
    assert (change.action, change.reason, change.drift_only) == (Action.CREATE, "new in Git", False)
    assert change.mark == Mark(US, "one", "0" * 40, desired[0].spec_digest, "t/thing/one", protect=True)
    loop.reconcile(desired)
    assert plan(loop.situation(desired)).empty


def test_what_is_gone_is_created_again_and_told_as_drift() -> None:
    """A deleted resource comes back, as drift and not as Git's wish, with the target's reason if it has one."""
    loop, desired = served("one")
    loop.target.records.clear()
    made = plan(loop.situation(desired))
    (change,) = made.effective()
    assert (change.action, change.drift_only) == (Action.CREATE, True)
    assert [(d.gone, d.note) for d in made.drift] == [(True, "it is gone from the target")]
    gone = Observed(id_of("one"), {}, health=Health.MISSING, reason="killed by signal 9")
    made = plan(loop.situation(desired, observations={"t": Observation("t", Completeness.COMPLETE, {gone.id: gone})}))
    assert [c.reason for c in made.effective()] == ["gone: killed by signal 9"]
    assert [d.note for d in made.drift] == ["killed by signal 9"]
    changed = [want("one", {"a": 2})]
    assert plan(loop.situation(changed)).pending


def test_what_we_were_deleting_is_no_drift() -> None:
    """A resource that was gone because its deletion was begun, and is wanted again, is created without drift."""
    loop, desired = served("one")
    loop.baselines[id_of("one")] = replace(loop.baselines[id_of("one")], pending=Pending("delete", "apply", None))
    loop.target.records.clear()
    made = plan(loop.situation(desired))
    assert (actions(made), made.drift, made.pending) == ({"one": Action.CREATE}, (), True)


def test_an_unrecorded_resource_in_sync_is_recorded_and_not_written() -> None:
    """A lost record is made anew from the mark; a later drift is then drift."""
    loop, desired = served("one")
    loop.baselines.clear()
    writes = loop.target.writes
    (change,) = loop.reconcile(desired).effective()
    assert (change.action, change.writes) == (Action.ADOPT, False)
    assert loop.target.writes == writes
    loop.target.put(id_of("one"), {"a": 9}, loop.target.records[id_of("one")].mark)
    made = plan(loop.situation(desired))
    assert not made.pending
    assert [f.pointer for d in made.drift for f in d.fields] == ["/a"]


def test_drift_is_known_as_drift_without_any_record() -> None:
    """Where the mark names just this version, a difference is drift even if the record is lost."""
    loop, desired = served("one")
    loop.baselines.clear()
    loop.target.put(id_of("one"), {"a": 9}, loop.target.records[id_of("one")].mark)
    made = loop.reconcile(desired)
    assert (actions(made), made.pending) == ({"one": Action.UPDATE}, False)
    assert [f.cause for c in made.effective() for f in c.fields] == [Cause.DRIFT]
    assert [c.reason for c in made.effective()] == ["changed outside of Git"]
    assert plan(loop.situation(desired)).empty


def test_a_field_removed_while_the_record_is_lost_goes() -> None:
    """The mark's digest gives it away: the whole resource is written."""
    loop, _ = served("one", spec={"a": 1, "b": 2})
    loop.baselines.clear()
    desired = [want("one", {"a": 1})]
    (change,) = loop.reconcile(desired).effective()
    assert [f.pointer for f in change.fields] == ["/mark/specDigest"]
    assert "not in our records" in change.reason
    assert "b" not in loop.target.records[id_of("one")].spec
    assert plan(loop.situation(desired)).empty


@pytest.mark.parametrize(
    "what",
    [
        {"service": "other"},
        {"policy": Policy(prune=False)},
        {"depends_on": (id_of("two"),)},
    ],
    ids=lambda what: next(iter(what)),
)
def test_what_only_the_record_needs_is_recorded_once(what: dict[str, Any]) -> None:
    """A changed service, prune flag or dependency is recorded without a write, exactly once."""
    loop, (one, two) = served("one", "two")
    desired = [replace(one, **what), two]
    writes = loop.target.writes
    made = loop.reconcile(desired)
    assert [(c.id.name, c.action, c.steps) for c in made.effective()] == [("one", Action.ADOPT, ())]
    assert loop.target.writes == writes
    assert plan(loop.situation(desired)).empty


@pytest.mark.parametrize("beside", [True, False])
def test_what_goes_without_anybody_noticing(beside: bool) -> None:
    """Only what answers, or what leads to it, stops answering when it is taken away."""
    loop, _ = served("one")
    accessories = frozenset({KIND} if beside else set[str]())
    loop.target.capabilities = Capabilities(frozenset({KIND}), accessories=accessories)
    (change,) = plan(loop.situation([])).effective()
    assert change.action is Action.DELETE
    assert change.disruption is (Disruption.NONE if beside else Disruption.OUTAGE)


def test_protection_is_written_and_recorded() -> None:
    """A changed `protect` is written to the mark in place, and recorded."""
    loop, desired = served("one")
    safe = [want("one", {"a": 1}, policy=Policy(protect=True))]
    loop.target.capabilities = Capabilities(frozenset({KIND}), stages=frozenset({KIND}), restarts=("/**",))
    (change,) = plan(loop.situation(safe)).effective()
    assert ([f.pointer for f in change.fields], change.steps) == (["/mark/protect"], (Step.APPLY,))
    assert change.disruption is Disruption.NONE
    loop.settle(safe)
    assert loop.baselines[id_of("one")].protect
    assert loop.target.records[id_of("one")].mark == replace_mark(
        "one", spec_digest=desired[0].spec_digest, protect=True, revision=loop_revision(loop)
    )


def loop_revision(loop: Loop) -> str:
    """The revision in the mark as last written."""
    found = loop.target.records[id_of("one")].mark
    assert found is not None
    return found.revision


def test_an_interrupted_write_that_arrived_is_only_recorded() -> None:
    """The crash came after the write: nothing is written again."""
    loop, _ = served("one")
    desired = [want("one", {"a": 2})]
    loop.baselines[id_of("one")] = replace(loop.baselines[id_of("one")], pending=Pending("update", "apply", {"a": 2}))
    loop.target.put(id_of("one"), {"a": 2}, replace_mark("one", spec_digest=desired[0].spec_digest))
    (change,) = loop.reconcile(desired).effective()
    assert (change.action, change.writes) == (Action.ADOPT, False)
    assert "interrupted" in change.reason
    assert plan(loop.situation(desired)).empty


def test_an_interrupted_write_whose_mark_is_old_renews_the_mark() -> None:
    """Everything reads right but the mark names another version: only the mark is written."""
    loop, _ = served("one")
    desired = [want("one", {"a": 2})]
    loop.baselines[id_of("one")] = replace(loop.baselines[id_of("one")], pending=Pending("update", "apply", {"a": 2}))
    loop.target.put(id_of("one"), {"a": 2}, loop.target.records[id_of("one")].mark)
    (change,) = loop.reconcile(desired).effective()
    assert ([f.pointer for f in change.fields], change.reason) == (
        ["/mark/revision"],
        "an earlier change was interrupted",
    )
    assert plan(loop.situation(desired)).empty


def test_both_sides_changed() -> None:
    """A change of Git and one by hand are told apart, field by field."""
    loop, _ = served("one", spec={"a": 1, "b": 1})
    loop.target.put(id_of("one"), {"a": 1, "b": 5}, loop.target.records[id_of("one")].mark)
    made = plan(loop.situation([want("one", {"a": 2, "b": 1})]))
    (change,) = made.effective()
    assert change.reason == "changed in Git and outside of it"
    assert {f.pointer: f.cause for f in change.fields} == {"/a": Cause.PENDING, "/b": Cause.DRIFT}
    assert made.pending
    assert not change.drift_only


def test_reported_drift_stays_reported() -> None:
    """Drift under `report` is told again and again, is never written back, also not by a change of another field."""
    policy = Policy(rules=(DriftRule("/a", FieldPolicy.REPORT),))
    loop, desired = served("one", spec={"a": 1, "b": 1}, policy=policy)
    loop.target.put(id_of("one"), {"a": 5, "b": 1}, loop.target.records[id_of("one")].mark)
    for spec in ({"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 3}):
        desired = [want("one", spec, policy=policy)]
        loop.settle(desired)
        made = plan(loop.situation(desired))
        assert made.empty
        assert [(f.pointer, f.now, f.left) for d in made.drift for f in d.fields] == [("/a", 5, 1)]
        assert [d.healing for d in made.drift] == [False]
        assert loop.target.records[id_of("one")].spec["a"] == 5
    loop.baselines.clear()
    loop.settle(desired)
    assert [d.healing for d in plan(loop.situation(desired)).drift] == [False]
    loop.settle([want("one", {"a": 7, "b": 3}, policy=policy)])
    assert loop.target.records[id_of("one")].spec["a"] == 7


def test_an_ignored_value_is_kept_in_what_is_written() -> None:
    """Scenario 5: an ignored field changed live and another in Git, so the write carries the live value."""
    policy = Policy(rules=(DriftRule("/a", FieldPolicy.IGNORE),))
    loop, _ = served("one", spec={"a": 1, "b": 1}, policy=policy)
    loop.target.put(id_of("one"), {"a": 5, "b": 1}, loop.target.records[id_of("one")].mark)
    (change,) = loop.reconcile([want("one", {"a": 1, "b": 2}, policy=policy)]).effective()
    assert change.desired is not None
    assert change.desired.spec == {"a": 5, "b": 2}
    assert [f.pointer for f in change.fields] == ["/b"]
    assert plan(loop.situation([want("one", {"a": 1, "b": 2}, policy=policy)])).empty


def test_a_secret_is_shown_as_changed_and_not_shown() -> None:
    """Scenario 7: only a secret changed; the plan says so without its value, and the second plan is empty."""
    loop = Loop(ModelTarget(capabilities=Capabilities(frozenset({KIND}), write_only=("/key",))))
    loop.settle([want("one", {"key": seal(b"k", "first")})])
    desired = [want("one", {"key": seal(b"k", "second")})]
    made = loop.reconcile(desired)
    (change,) = made.effective()
    assert [(f.pointer, str(f.before), str(f.after)) for f in change.fields] == [("/key", "(sensitive)", "(sensitive)")]
    assert "second" not in repr(made)
    assert plan(loop.situation(desired)).empty
    loop.baselines.clear()
    writes = loop.target.writes
    loop.settle(desired)
    assert loop.target.writes == writes


def test_the_digest_tells_where_a_secret_comes_from_and_not_what_it_is() -> None:
    """Whoever has not the key finds the same digest; another reference, and one more change, are another plan."""
    loop = Loop()
    loop.settle([want("one", {"key": seal(b"k", "first", SecretRef("env", "A")), "b": 1})])

    def found(key: Any, b: int = 1) -> str:
        return plan(loop.situation([want("one", {"key": key, "b": b})])).digest

    second = found(seal(b"k", "second", SecretRef("env", "A")))
    assert second == found(seal(b"other", "third", SecretRef("env", "A"))) == found(SecretRef("env", "A"))
    assert second != found(seal(b"k", "second", SecretRef("env", "B")))
    assert second != found(seal(b"k", "second", SecretRef("env", "A")), b=2)
    assert found(seal(b"k", "first", SecretRef("env", "A")), b=2) != found(SecretRef("env", "A"), b=2)


def test_a_field_that_is_not_ours_leaves_the_digest_as_it_is() -> None:
    """What a policy leaves to others may move between a review and its apply; a field of ours may not."""
    policy = Policy(rules=(DriftRule("/a", FieldPolicy.IGNORE),))
    loop, _ = served("one", spec={"a": 1, "b": 1}, policy=policy)
    wanted = [want("one", {"a": 1, "b": 2}, policy=policy)]
    reviewed = plan(loop.situation(wanted)).digest
    mark = loop.target.records[id_of("one")].mark
    loop.target.put(id_of("one"), {"a": 7, "b": 1}, mark)
    assert plan(loop.situation(wanted)).digest == reviewed
    loop.target.put(id_of("one"), {"a": 7, "b": 7}, mark)
    assert plan(loop.situation(wanted)).digest != reviewed


def test_each_target_has_a_digest_of_its_own() -> None:
    """What is done at one target leaves the other's digest as it is; without changes a target has none."""
    loop, _ = served()
    seen = {"t": loop.target.observe(), "u": Observation("u", Completeness.COMPLETE)}
    capabilities = dict.fromkeys(seen, loop.target.capabilities)

    def planned(*desired: Desired) -> Plan:
        return plan(loop.situation(desired, observations=seen, capabilities=capabilities))

    here, there = want("one", {"a": 1}), Desired(ResourceId("u", KIND, "two"), {"a": 1}, "two")
    both = planned(here, there)
    assert planned(there).digests == {"u": both.digests["u"]}
    assert planned(want("one", {"a": 2}), there).digests["u"] == both.digests["u"]
    assert len({both.digest, planned(there).digest, *both.digests.values()}) == 4
    assert planned().digests == {}


# Dependencies and unknowns


def source_and_user(user_target: str = "t") -> list[Desired]:
    """One resource that needs what another one gives."""
    user = Desired(ResourceId(user_target, KIND, "user"), {"v": Unknown("t/thing/source", "/out")}, "user")
    return [want("source", {"a": 1}), user]


class Giving(ModelTarget):
    """A model target whose resources have an output."""

    def put(self, id_: ResourceId, spec: Any, mark: Mark | None) -> Observed:
        observed = replace(super().put(id_, spec, mark), outputs={"out": f"made of {spec.get('a')}"})
        self.records[id_] = observed
        return observed


def test_an_unknown_is_filled_in_when_its_source_is_known() -> None:
    """Before its source is applied a value is unknown; afterwards it is a value, and the plan is empty."""
    loop, desired = Loop(Giving()), source_and_user()
    made = plan(loop.situation(desired))
    assert [c.id.name for c in made.effective()] == ["source", "user"]
    assert [str(c.desired.spec.get("v")) for c in made.effective() if c.desired] == ["None", "(known after apply)"]
    source, user = made.effective()
    assert user.depends_on == (source.id,)
    loop.reconcile(desired[:1])
    reviewed = user.digest
    (user,) = plan(loop.situation(desired)).effective()
    assert user.digest == reviewed
    assert user.desired is not None
    assert user.desired.spec == {"v": "made of 1"}
    loop.settle(desired)
    assert plan(loop.situation(desired)).empty


def test_lost_records_do_not_make_known_values_unknown() -> None:
    """A source that is only recorded again tells its outputs in the same plan."""
    loop, desired = Loop(Giving()), source_and_user()
    loop.target.put(id_of("source"), {"a": 1}, replace_mark("source", spec_digest=desired[0].spec_digest))
    loop.reconcile(desired)
    loop.baselines.clear()
    assert [c.steps for c in plan(loop.situation(desired)).effective()] == [(), ()]


def test_a_source_out_of_scope_is_known_by_what_is_seen_or_recorded() -> None:
    """An output comes from the observation, or from the record where the target was not looked at."""
    user = source_and_user("other")[1]
    source = Observed(id_of("source"), {}, replace_mark("source"), outputs={"out": "seen"})
    recorded = {id_of("source"): Baseline(id_of("source"), "", {}, {}, {"out": "recorded"})}
    empty = Observation("other", Completeness.COMPLETE)
    seen = {"other": empty, "t": Observation("t", Completeness.COMPLETE, {source.id: source})}
    capabilities = {"t": Capabilities(frozenset({KIND})), "other": Capabilities(frozenset({KIND}))}
    for observations, wanted in ((seen, "seen"), ({"other": empty}, "recorded")):
        made = plan(Loop().situation([user], observations=observations, baselines=recorded, capabilities=capabilities))
        assert [c.desired.spec["v"] for c in made.effective() if c.desired and c.action is Action.CREATE] == [wanted]


def test_an_output_that_never_comes_blocks() -> None:
    """A source that is there but does not report what is needed blocks who needs it, by name."""
    loop, desired = served("source")
    desired = [*desired, source_and_user()[1]]
    made = plan(loop.situation(desired))
    assert made.blocked == (Blocked(id_of("user"), "waits for t/thing/source, which does not report /out"),)
    assert actions(made) == {}


def test_what_needs_something_stopped_waits() -> None:
    """A refused or missing dependency stops what needs it, and says so."""
    loop = Loop()
    loop.target.put(id_of("base"), {"a": 1}, None)
    base, user = want("base", {"a": 2}), want("user", {}, depends_on=(id_of("base"),))
    made = plan(loop.situation([base, user]))
    assert [r.code for r in made.refusals] == ["foreign"]
    assert made.blocked == (Blocked(id_of("user"), "waits for t/thing/base"),)
    lonely = want("user", {}, depends_on=(ResourceId("t", "thing", "nowhere"),))
    assert plan(loop.situation([lonely])).blocked == (Blocked(id_of("user"), "waits for t/thing/nowhere"),)


@pytest.mark.parametrize(
    ("observed", "recorded", "blocked"),
    [
        (Observed(id_of("base"), {}), False, False),
        (Observed(id_of("base"), {}, health=Health.MISSING), False, True),
        (None, False, True),
        (None, True, True),
    ],
)
def test_a_dependency_outside_of_git_must_be_there(observed: Observed | None, recorded: bool, blocked: bool) -> None:
    """What Git does not name counts as there if it is seen, and not missing."""
    seen = {observed.id: observed} if observed else {}
    baselines = {id_of("base"): Baseline(id_of("base"), sent={})} if recorded else {}
    made = plan(
        Loop().situation(
            [want("user", {}, depends_on=(id_of("base"),))],
            observations={"t": Observation("t", Completeness.COMPLETE, seen)},
            baselines=baselines,
        )
    )
    assert bool(made.blocked) == blocked


def test_a_dependency_at_a_target_not_looked_at_counts_by_its_record() -> None:
    """An offline plan trusts the record for what it does not look at."""
    far = ResourceId("far", KIND, "base")
    user = want("user", {}, depends_on=(far,))
    assert plan(Loop().situation([user])).blocked
    assert not plan(Loop().situation([user], baselines={far: Baseline(far, sent={})})).blocked


def test_a_circle_is_named() -> None:
    """Resources that need each other are an error that spells out the circle."""
    a, b = want("a", {}, depends_on=(id_of("b"),)), want("b", {}, depends_on=(id_of("a"),))
    with pytest.raises(InvalidError, match=r"t/thing/[ab] -> t/thing/[ab] -> t/thing/[ab]") as caught:
        plan(Loop().situation([a, b]))
    assert caught.value.hint


# What stands against a change


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "no mark"),
        (replace_mark("one", installation="them"), "installation them"),
        (replace_mark("one", self_ref="t/thing/original"), "a copy of t/thing/original"),
    ],
)
def test_what_is_not_ours_is_refused_unless_asked_for(found: Mark | None, words: str) -> None:
    """A foreign resource stops the change, saying whose it is; with `adopt` it is taken over and marked."""
    loop = Loop()
    loop.target.put(id_of("one"), {"a": 1}, found)
    (refusal,) = plan(loop.situation([want("one", {"a": 1})])).refusals
    assert words in refusal.message
    assert "adopt" in refusal.advice
    desired = [want("one", {"a": 1}, policy=Policy(adopt=True))]
    (change,) = loop.reconcile(desired).effective()
    assert (change.action, [f.pointer for f in change.fields]) == (Action.ADOPT, ["/mark/installation"])
    assert loop.target.records[id_of("one")].owned_by(US)
    assert plan(loop.situation(desired)).empty


def test_what_is_not_ours_is_never_replaced() -> None:
    """Taking over does not go as far as deleting: an immutable difference is refused."""
    loop = Loop(ModelTarget(capabilities=Capabilities(frozenset({KIND}), immutable=("/a",))))
    loop.target.put(id_of("one"), {"a": 1}, None)
    made = plan(loop.situation([want("one", {"a": 2}, policy=Policy(adopt=True))]))
    assert made.empty
    assert "/a" in made.refusals[0].message


def test_something_gone_that_carries_anothers_mark_is_foreign() -> None:
    """What is only known to be gone is nobody's, unless its mark says whose it is."""
    gone = Observed(id_of("one"), {}, replace_mark("one", installation="them"), Health.MISSING)
    made = plan(
        Loop().situation(
            [want("one", {})], observations={"t": Observation("t", Completeness.COMPLETE, {gone.id: gone})}
        )
    )
    assert [r.code for r in made.refusals] == ["foreign"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"suspended": frozenset({"one"})}, "suspended"),
        ({"incomplete": frozenset({"one"})}, "errors"),
        ({"observations": {}}, "was not looked at"),
        ({"observations": {"t": Observation("t", Completeness.UNAVAILABLE, missing="down")}}, "down"),
        ({"observations": {"t": Observation("t", Completeness.PARTIAL, missing="page 2")}}, "page 2"),
    ],
)
def test_what_blocks_a_change(more: dict[str, Any], words: str) -> None:
    """Suspension, broken manifests and a target out of sight each block, with the reason."""
    made = plan(Loop().situation([want("one", {})], **more))
    assert made.empty
    assert [words in b.reason for b in made.blocked] == [True]


def test_suspending_in_git_still_reports_drift() -> None:
    """A suspended service is not written, and its drift is told."""
    loop, _ = served("one")
    loop.target.put(id_of("one"), {"a": 9}, loop.target.records[id_of("one")].mark)
    made = plan(loop.situation([want("one", {"a": 1}, policy=Policy(suspend=True))]))
    assert made.empty
    assert made.blocked
    assert made.drift
    assert made.changes[0].drift_only


def test_a_busy_resource_waits() -> None:
    """While an operation is under way nothing else is begun."""
    loop, _ = served("one")
    loop.target.records[id_of("one")] = replace(loop.target.records[id_of("one")], busy=True)
    assert "in progress" in plan(loop.situation([want("one", {"a": 2})])).blocked[0].reason


def test_a_failed_version_waits_its_time_and_a_new_one_does_not() -> None:
    """A hold is of one version: another version goes at once, the same one when its time has come."""
    desired = want("one", {"a": 1})
    hold = {desired.id: Hold(desired.spec_digest, "tests failed", until=100.0)}
    assert "tried again in 60 s" in plan(Loop().situation([desired], holds=hold, now=40.0)).blocked[0].reason
    assert not plan(Loop().situation([desired], holds=hold, now=100.0)).blocked
    assert not plan(Loop().situation([want("one", {"a": 2})], holds=hold, now=40.0)).blocked


def test_a_record_is_renewed_in_spite_of_holds() -> None:
    """What calls nothing waits for nothing."""
    loop, desired = served("one")
    loop.baselines.clear()
    hold = {id_of("one"): Hold(desired[0].spec_digest, "x", until=100.0)}
    assert actions(plan(loop.situation(desired, holds=hold))) == {"one": Action.ADOPT}


# Steps and disruption


STAGING = Capabilities(
    frozenset({KIND}),
    immutable=("/zone", "/l/*/x"),
    restarts=("/env",),
    stages=frozenset({KIND}),
    in_place=("/labels",),
    endpoints=frozenset({KIND}),
)
IN_PLACE = replace(STAGING, stages=frozenset())
BEFORE = {"zone": "a", "env": "1", "labels": "1", "b": 1, "l": [{"x": 1, "y": 1}]}


@pytest.mark.parametrize(
    ("capabilities", "after", "action", "disruption", "steps"),
    [
        (IN_PLACE, {"b": 2}, Action.UPDATE, Disruption.NONE, [Step.APPLY, Step.TEST]),
        (IN_PLACE, {"env": "2"}, Action.UPDATE, Disruption.RESTART, [Step.APPLY, Step.TEST]),
        (IN_PLACE, {"zone": "b"}, Action.REPLACE, Disruption.REPLACE, [Step.APPLY, Step.TEST]),
        (IN_PLACE, {"labels": "2"}, Action.UPDATE, Disruption.NONE, [Step.APPLY]),
        (IN_PLACE, {"l": [{"x": 2, "y": 1}]}, Action.REPLACE, Disruption.REPLACE, [Step.APPLY, Step.TEST]),
        (IN_PLACE, {"l": [{"x": 1, "y": 2}]}, Action.UPDATE, Disruption.NONE, [Step.APPLY, Step.TEST]),
        (IN_PLACE, {"l": [{"x": 1, "y": 1}, {"x": 2}]}, Action.REPLACE, Disruption.REPLACE, [Step.APPLY, Step.TEST]),
        (IN_PLACE, {"l": [{"x": 1}, {"y": 2}]}, Action.UPDATE, Disruption.NONE, [Step.APPLY, Step.TEST]),
        (STAGING, {"b": 2}, Action.UPDATE, Disruption.NONE, [Step.STAGE, Step.TEST, Step.PROMOTE]),
        (STAGING, {"zone": "b"}, Action.REPLACE, Disruption.NONE, [Step.STAGE, Step.TEST, Step.PROMOTE]),
        (STAGING, {"labels": "2"}, Action.UPDATE, Disruption.NONE, [Step.APPLY]),
    ],
)
def test_how_a_change_is_carried_out(
    capabilities: Capabilities, after: dict[str, Any], action: Action, disruption: Disruption, steps: list[Step]
) -> None:
    """What changes decides on update or replace, on its disruption, and on staging."""
    loop = Loop(ModelTarget(capabilities=capabilities))
    loop.settle([want("one", BEFORE, tests=(SmokeTest("t"),))])
    (change,) = plan(loop.situation([want("one", {**BEFORE, **after}, tests=(SmokeTest("t"),))])).effective()
    assert (change.action, change.disruption, list(change.steps)) == (action, disruption, steps)


def test_a_healthy_staged_version_is_promoted_and_not_staged_again() -> None:
    """After a crash between staging and promoting, what stands there is tested and promoted."""
    loop = Loop(ModelTarget(capabilities=STAGING))
    loop.settle([want("one", {"a": 1})])
    desired = want("one", {"a": 2})
    for health, first in ((Health.HEALTHY, Step.PROMOTE), (Health.DEGRADED, Step.STAGE)):
        staged = Staged(desired.spec_digest, health)
        loop.target.records[desired.id] = replace(loop.target.records[desired.id], staged=staged)
        (change,) = plan(loop.situation([desired])).effective()
        assert change.steps[0] is first


def test_a_staged_version_left_over_is_discarded() -> None:
    """Nothing is to be changed, yet something is staged: it goes."""
    loop, desired = served("one")
    staged = Staged("old", Health.HEALTHY)
    loop.target.records[id_of("one")] = replace(loop.target.records[id_of("one")], staged=staged)
    (change,) = plan(loop.situation(desired)).effective()
    assert (change.action, change.steps, change.drift_only) == (Action.UPDATE, (Step.DISCARD,), True)


# Taking away


def test_what_git_took_out_is_deleted_and_forgotten() -> None:
    """Owned by mark and by record, seen completely: it goes."""
    loop, _ = served("one", "two")
    made = loop.settle([want("two", {"a": 1})])
    assert made.empty
    assert {i.name for i in loop.target.records} == {"two"}
    assert set(loop.baselines) == {id_of("two")}


def test_nothing_goes_by_mark_alone() -> None:
    """A mark without record is recorded first and deleted by the plan after."""
    loop, _ = served("one")
    loop.baselines.clear()
    made = loop.reconcile([])
    assert [(c.action, c.steps) for c in made.effective()] == [(Action.ADOPT, ())]
    assert actions(plan(loop.situation([]))) == {"one": Action.DELETE}


def test_nothing_goes_by_record_alone() -> None:
    """A record whose resource carries another mark, or none, is forgotten, and the resource stays."""
    for found in (None, replace_mark("one", installation="them"), replace_mark("one", self_ref="t/thing/x")):
        loop, _ = served("one")
        loop.target.put(id_of("one"), {}, found)
        assert actions(loop.reconcile([])) == {"one": Action.FORGET}
        assert id_of("one") in loop.target.records
        assert not loop.baselines


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"loaded_whole": False}, "incomplete-load"),
        ({"suspended": frozenset({"one"})}, "suspended"),
        ({"observations": {"t": Observation("t", Completeness.UNAVAILABLE, missing="down")}}, "partial-observation"),
        ({"observations": {"t": Observation("t", Completeness.PARTIAL, missing="page 2")}}, "partial-observation"),
        ({"observations": {}}, "target-not-seen"),
    ],
)
def test_what_keeps_a_resource(more: dict[str, Any], code: str) -> None:
    """Nothing is deleted or forgotten on missing information; what is kept is listed with the reason."""
    loop, _ = served("one")
    made = plan(loop.situation([], **more))
    assert made.empty
    assert [(k.code, bool(k.reason)) for k in made.kept] == [(code, True)]


@QUICK
@given(st.sets(st.sampled_from("abcdef"), min_size=1), st.sets(st.sampled_from("abcdef")))
def test_an_incomplete_observation_deletes_nothing(names: set[str], hidden: set[str]) -> None:
    """Scenario 1: whatever a broken-off listing shows, nothing is deleted and nothing forgotten."""
    loop, _ = served(*sorted(names))
    made = plan(loop.situation([], observations=partial(loop, without=sorted(hidden))))
    assert made.empty
    assert len(made.kept) == len(names)


def test_a_delete_is_wanted_by_both_of_two_looks() -> None:
    """What the first look did not want deleted the second one keeps, and says so."""
    loop, _ = served("one", "two", "three")
    desired = [want("three", {"a": 1})]
    made = plan(loop.situation(desired, agreed=frozenset({id_of("one")})))
    assert actions(made) == {"one": Action.DELETE}
    assert [(k.id.name, k.code) for k in made.kept] == [("two", "seen-once")]


def test_what_stays_keeps_what_it_needs() -> None:
    """Of everything that Git no longer names, what a protected service is made of stays with it, said at once."""
    loop, _ = served("base", "own", "other")
    user = replace(want("user", {"a": 1}, depends_on=(id_of("own"),)), policy=Policy(protect=True))
    own = want("own", {"a": 1}, depends_on=(id_of("base"),))
    loop.settle([want("base", {"a": 1}), own, want("other", {"a": 1}), user])
    made = plan(loop.situation([]))
    assert actions(made) == {"other": Action.DELETE}
    assert [r.code for r in made.refusals] == ["protected"]
    assert [(k.id.name, k.code, k.reason) for k in made.kept] == [
        (name, "in-use", f"{id_of('user')} needs it, and stays") for name in ("base", "own")
    ]


def test_a_service_that_moves_stays_until_it_can_be_made_elsewhere() -> None:
    """While its new target cannot be seen, what serves at the old one is kept, with the reason."""
    loop, _ = served("one", "two")
    moved = Desired(ResourceId("u", KIND, "one"), {"a": 1}, "one")
    unseen = Observation("u", Completeness.UNAVAILABLE, missing="down")
    more = {"capabilities": {"t": loop.target.capabilities, "u": loop.target.capabilities}}
    both = {"t": loop.target.observe(), "u": unseen}
    made = plan(loop.situation([moved, want("two", {"a": 1})], observations=both, **more))
    assert made.empty
    (kept,) = made.kept
    assert (kept.id, kept.code) == (id_of("one"), "moves-first")
    assert "down" in kept.reason
    seen = {"t": loop.target.observe(), "u": Observation("u", Completeness.COMPLETE)}
    made = plan(loop.situation([moved, want("two", {"a": 1})], observations=seen, **more))
    assert made.count(Action.CREATE) == made.count(Action.DELETE) == 1


def test_pruning_can_be_switched_off() -> None:
    """`prune: false` keeps what Git no longer names."""
    loop, _ = served("one", policy=Policy(prune=False))
    assert [k.code for k in plan(loop.situation([])).kept] == ["not-pruned"]


def test_deleting_waits_for_what_is_going_on() -> None:
    """A busy resource is not deleted now."""
    loop, _ = served("one")
    loop.target.records[id_of("one")] = replace(loop.target.records[id_of("one")], busy=True)
    made = plan(loop.situation([]))
    assert [k.code for k in made.kept] == ["busy"]
    assert made.busy == {id_of("one")}
    # Nobody waits for what would stay anyway.
    loop.target.capabilities = Capabilities(frozenset({KIND}), retained=frozenset({KIND}))
    assert [k.code for k in plan(loop.situation([])).kept] == ["retained"]


def test_protection_takes_two_merges() -> None:
    """A protected resource is not deleted, by record or by mark; lifted first, it goes with the next merge."""
    loop, _ = served("one", policy=Policy(protect=True))
    (refusal,) = plan(loop.situation([])).refusals
    assert (refusal.code, refusal.approvable, bool(refusal.ways)) == ("protected", False, True)
    loop.baselines[id_of("one")] = replace(loop.baselines[id_of("one")], protect=False)
    assert [r.code for r in plan(loop.situation([])).refusals] == ["protected"]
    loop.settle([want("one", {"a": 1})])
    loop.settle([])
    assert not loop.target.records


def test_artifacts_are_kept_for_a_while_and_come_back_into_use() -> None:
    """What nothing needs is kept for the target's time; used again before, it is known as used."""
    capabilities = Capabilities(frozenset({KIND}), retained=frozenset({KIND}), retain_seconds=7 * 86400.0)
    loop, desired = served("one")
    loop.target.capabilities = capabilities
    assert [(k.code, "7 days" in k.reason) for k in plan(loop.situation([], now=1e6)).kept] == [("retained", True)]
    loop.baselines[id_of("one")] = replace(loop.baselines[id_of("one")], unused_since=1e6)
    assert [k.code for k in plan(loop.situation([], now=1e6 + 86400)).kept] == ["retained"]
    (change,) = plan(loop.situation([], now=1e6 + 7 * 86400)).effective()
    assert (change.action, change.disruption, change.reason) == (Action.DELETE, Disruption.NONE, "unused for long")
    loop.settle(desired)
    assert loop.baselines[id_of("one")].unused_since is None


def test_of_unused_artifacts_the_last_used_ones_are_kept() -> None:
    """Beyond the number that is kept they go before their time, those first that nothing needed for longest."""
    capabilities = Capabilities(
        frozenset({KIND}), retained=frozenset({KIND}), retain_seconds=7 * 86400.0, retain_count=2
    )
    names = ["newest", "new", "old", "oldest"]
    loop, _ = served(*names)
    loop.target.capabilities = capabilities
    assert not [*plan(loop.situation([], now=1e6)).effective()][2:]
    for age, name in enumerate(names):
        loop.baselines[id_of(name)] = replace(loop.baselines[id_of(name)], unused_since=1e6 - age)
    made = plan(loop.situation([], now=1e6 + 1))
    assert sorted(c.id.name for c in made.effective()) == ["old", "oldest"]
    assert {c.reason for c in made.effective()} == {"unused, and 2 newer are kept"}
    assert sorted(k.id.name for k in made.kept) == ["new", "newest"]


def test_a_rename_is_pointed_out() -> None:
    """A creation with the content of a deletion says that it looks like a rename; another one does not."""
    loop, _ = served("old", "bystander", spec={"a": 1})
    made = plan(loop.situation([want("new", {"a": 1}), want("bystander", {"a": 1}), want("else", {"a": 2})]))
    reasons = {c.id.name: c.reason for c in made.effective()}
    assert "t/thing/old" in reasons["new"]
    assert reasons["else"] == "new in Git"


# Rails


def test_too_many_deletions_are_refused_with_the_numbers() -> None:
    """Scenario 3: more than 30 % of ten or more is refused; the limit itself, and small targets, are not."""
    names = [f"s{n}" for n in range(10)]
    loop, desired = served(*names)
    assert plan(loop.situation(desired[3:])).refusals == ()
    (refusal,) = plan(loop.situation(desired[4:])).refusals
    assert (refusal.code, refusal.targets, refusal.approvable) == ("too-many-deletes", ("t",), True)
    assert "4 deletes" in refusal.message
    assert "40.0 % of its 10" in refusal.message
    assert "--max-delete 40" in refusal.advice
    assert plan(loop.situation(desired[4:], rails=Rails(min_resources=11))).refusals == ()
    assert plan(loop.situation(desired[4:], rails=Rails(max_delete_percent=40.0))).refusals == ()


def test_replacing_without_a_successor_counts_as_losing() -> None:
    """Replacements count for the rail, unless their successor is staged and tested before."""
    names = [f"s{n}" for n in range(10)]
    tested = (SmokeTest("t"),)
    nothing, all_kinds = frozenset[str](), frozenset({KIND})
    for stages, tests, refused in (
        (nothing, (), True),
        (nothing, tested, True),
        (all_kinds, (), True),
        (all_kinds, tested, False),
    ):
        capabilities = Capabilities(all_kinds, immutable=("/a",), stages=stages, endpoints=all_kinds)
        loop = Loop(ModelTarget(capabilities=capabilities))
        loop.settle([want(name, {"a": 1}, tests=tests) for name in names])
        made = plan(loop.situation([want(name, {"a": 2}, tests=tests) for name in names]))
        assert bool(made.refusals) is refused


def test_artifacts_going_out_of_use_do_not_count() -> None:
    """Retained kinds are collected without the rail."""
    names = [f"s{n}" for n in range(10)]
    loop, _ = served(*names)
    loop.target.capabilities = Capabilities(frozenset({KIND}), retained=frozenset({KIND}), retain_seconds=0.0)
    made = plan(loop.situation([]))
    assert made.count(Action.DELETE) == 10
    assert "too-many-deletes" not in {r.code for r in made.refusals}


def test_a_target_is_not_emptied_by_accident() -> None:
    """Scenario 2: nothing left to serve is refused, unless these very services were taken out."""
    loop, desired = served("one", "two")
    (refusal,) = plan(loop.situation([])).refusals
    assert refusal.code == "empties-target"
    assert "all of its 2 services" in refusal.message
    assert "--allow-empty" in refusal.advice
    assert plan(loop.situation([], removed=frozenset({"one", "two"}))).refusals == ()
    assert plan(loop.situation(desired[1:])).refusals == ()
    only, _ = served("one")
    assert plan(only.situation([])).refusals == ()


def test_a_target_where_something_stays_is_not_emptied() -> None:
    """A service that is kept counts as staying."""
    loop, _ = served("one", "two", "three")
    loop.baselines[id_of("three")] = replace(loop.baselines[id_of("three")], prune=False)
    made = plan(loop.situation([]))
    assert (made.refusals, made.count(Action.DELETE)) == ((), 2)


def test_an_approval_is_of_one_plan() -> None:
    """An approved digest lifts what can be lifted, a flag lifts its own rail, and neither lifts protection."""
    loop, _ = served("one", "two")
    loop.settle([want("one", {"a": 1}), want("two", {"a": 1}), want("p", {}, policy=Policy(protect=True))])
    loop.target.records[id_of("p")] = replace(
        loop.target.records[id_of("p")], mark=replace_mark("", protect=True, self_ref="t/thing/p")
    )
    made = plan(loop.situation([]))
    codes = {r.code for r in made.refusals}
    assert "protected" in codes
    assert all(r.ways for r in made.refusals)
    assert {r.code for r in standing(made, ())} == codes
    assert {r.code for r in standing(made, [Approval(made.digest)])} == {"protected"}
    assert {r.code for r in standing(made, [Approval("another")])} == codes
    assert {r.code for r in standing(made, frozenset(), frozenset(codes))} == {"protected"}


# What a plan says of itself


def test_a_plan_counts_and_lists() -> None:
    """Completeness by target, warnings once and in order, what is pending, and what is suspended."""
    warning = Problem("python", "another Python", severity=Severity.WARNING)
    desired = [want("b", {}, warnings=(warning,)), want("a", {}, warnings=(warning,))]
    made = plan(Loop().situation(desired, suspended=frozenset({"z", "y"}), warnings=(replace(warning, code="x"),)))
    assert [w.code for w in made.warnings] == ["x", "python"]
    assert made.targets == {"t": Completeness.COMPLETE}
    assert made.suspended == ("y", "z")
    assert made.pending
    assert made.count(Action.CREATE) == 2
    unseen = plan(Situation(made.revision, desired, {}, {"t": Capabilities(frozenset())}, {}, US))
    assert unseen.targets == {"t": Completeness.UNAVAILABLE}
    assert [action.glyph for action in Action] == ["=", "+", "~", "±", "-", "»", "«"]


def test_warnings_are_of_what_is_touched() -> None:
    """A resource in sync warns of nothing, and a warning that is among the problems is not said twice."""
    loop = Loop()
    told = Problem("python", "another Python", severity=Severity.WARNING)
    desired = [want("a", {}, warnings=(told,))]
    loop.settle(desired)
    assert plan(loop.situation(desired)).warnings == ()
    changed = [want("a", {"x": 1}, warnings=(told,))]
    assert plan(loop.situation(changed)).warnings == (told,)
    assert plan(loop.situation(desired, problems=(told,), warnings=(told,))).warnings == ()


def test_the_digest_is_of_what_is_done() -> None:
    """Another revision or wording leaves the digest, another value changes it."""
    loop, _ = served("one")
    changed = plan(loop.situation([want("one", {"a": 2})]))
    loop.revision += 7
    assert plan(loop.situation([want("one", {"a": 2})])).digest == changed.digest
    assert plan(loop.situation([want("one", {"a": 3})])).digest != changed.digest
    assert plan(loop.situation([want("one", {})])).digest != changed.digest
