"""What a drift report says of each field, of what is done about it, and of differences that are nobody's drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.deployment import Deployment, EntryScript, Environment, Target
from reconciler.core.drift_report import DriftReport, FieldReport, Next, drift_report
from reconciler.core.drifting import WHOLE, Memory, Spell
from reconciler.core.plan import plan
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Position
from reconciler.core.resources import Desired, Owner
from reconciler.core.sync import Sync, unsettled
from reconciler.core.values import MISSING

from .model import Loop, id_of, want

NOW = 1_000_000.0
ONE = id_of("one")


def rules(**policies: str) -> tuple[DriftRule, ...]:
    """A rule of the service for each field named."""
    return tuple(DriftRule(f"/{name}", FieldPolicy(policy), "service") for name, policy in policies.items())


def deployment(service: str, policy: Policy) -> Deployment:
    """Where a service's document stands."""
    at = Position(f"services/{service}.yaml", 3, 1)
    entry = EntryScript("score.py", "", "0" * 40)
    return Deployment(service, Target("t", "memory"), (), entry, Environment(), policy=policy, position=at)


def report(loop: Loop, desired: list[Desired], *memories: Memory, service: str = "", **more: Any) -> DriftReport:
    """Of what the loop sees now."""
    situation = loop.situation(desired, **more)
    known = {memory.id: memory for memory in memories}
    deployments = {d.service: deployment(d.service, d.policy) for d in desired}
    return drift_report(plan(situation), situation, known, deployments, NOW, service)


def served(spec: Mapping[str, Any], policy: Policy | None = None) -> tuple[Loop, list[Desired]]:
    """One service at rest."""
    loop, desired = Loop(), [want("one", spec, policy=policy or Policy())]
    loop.settle(desired)
    return loop, desired


def by_hand(loop: Loop, owners: Mapping[str, Owner] | None = None, **fields: Any) -> None:
    """Somebody changes fields."""
    there = loop.target.records[ONE]
    spec = {k: v for k, v in {**there.spec, **fields}.items() if v is not MISSING}
    loop.target.put(ONE, spec, there.mark)
    loop.target.records[ONE] = replace(loop.target.records[ONE], owners=owners or {})


def by_pointer(seen: DriftReport) -> dict[str, FieldReport]:
    """The fields of the one drifted resource."""
    (resource,) = seen.resources
    return {one.field.pointer: one for one in resource.fields}


def test_each_field_has_its_values_its_policy_and_what_is_next() -> None:
    """Healed, reported and conflicting fields of one resource are told apart, with who says so."""
    policy = Policy(rules=rules(b="report"), origin="defaults")
    loop, _ = served({"a": 1, "b": 1, "c": 1}, policy)
    by_hand(loop, {"/a": Owner("ann", 5.0)}, a=5, b=5, c=5)
    seen = report(loop, [want("one", {"a": 1, "b": 1, "c": 2}, policy=policy)])
    fields = by_pointer(seen)
    assert {p: (one.next, one.origin) for p, one in fields.items()} == {
        "/a": (Next.HEAL, "defaults"),
        "/b": (Next.REPORT, "service"),
        "/c": (Next.GIT, "defaults"),
    }
    conflict = fields["/c"].field
    assert (conflict.left, conflict.now, conflict.wanted) == (1, 5, 2)
    assert [one.owner for one in fields.values()] == [Owner("ann", 5.0), None, None]
    assert seen.resources[0].sync is seen.sync is Sync.BOTH


def test_since_when_and_how_often_come_from_the_memory() -> None:
    """What is remembered of each field is told; what is not remembered yet is new."""
    loop, desired = served({"a": 1, "b": 1})
    by_hand(loop, a=5, b=5)
    seen = report(loop, desired, Memory(ONE, "one", {"/a": Spell("v", (NOW - 90, NOW - 60), 2)}))
    fields = by_pointer(seen)
    assert [(one.since, one.times, one.fight) for one in fields.values()] == [(NOW - 60, 2, False), (None, 1, False)]
    assert (seen.since, seen.resources[0].since, seen.resources[0].times) == (NOW - 60, NOW - 60, 2)


def test_what_begins_again_counts_before_it_is_noted() -> None:
    """A look of its own notes nothing; how often it was there before, and that it is a fight, is known all the same."""
    loop, desired = served({"a": 1, "b": 1})
    by_hand(loop, a=5, b=5)
    over = Spell("v", (NOW - 90, NOW - 60), 6, ended=NOW - 50)
    seen = report(loop, desired, Memory(ONE, "one", {"/a": over}))
    fields = by_pointer(seen)
    assert [(one.since, one.times, one.fight) for one in fields.values()] == [(None, 7, True), (None, 1, False)]
    assert (seen.resources[0].times, seen.resources[0].since, seen.resources[0].fight) == (7, None, True)


def test_what_drifted_in_a_map_that_is_ours_as_a_whole_stands_not_aside() -> None:
    """Somebody's key among our keys is drift, and told once."""
    loop, desired = served({"keys": {"one": 1}})
    loop.target.capabilities = replace(loop.target.capabilities, closed=("/keys",))
    by_hand(loop, keys={"one": 1, "spare": 2})
    seen = report(loop, desired)
    assert ([*by_pointer(seen)], seen.aside) == (["/keys/spare"], ())


def test_a_fight_comes_with_the_lines_that_end_it() -> None:
    """The file of the service, and its own list of ignored fields with those that are fought about."""
    rule = DriftRule("/zone", FieldPolicy.IGNORE, "service")
    policy = Policy(rules=(DriftRule("/x", FieldPolicy.IGNORE, "defaults"), rule))
    loop, desired = served({"l": [{"name": "m", "v": 1}]}, policy)
    by_hand(loop, l=[{"name": "m", "v": 2}])
    fought = Memory(ONE, "one", {"/l/0/v": Spell("v", (NOW - 30, NOW - 20, NOW - 10), 9)})
    (resource,) = report(loop, desired, fought).resources
    assert resource.fight
    assert resource.advice is not None
    assert (resource.advice.file, resource.advice.ignore) == (
        "services/one.yaml",
        ("/zone", "thing:/l/[name=m]/v"),
    )


def test_what_is_only_reported_is_no_fight() -> None:
    """Nobody takes it back, however often it comes and goes."""
    loop, desired = served({"a": 1}, Policy(drift=FieldPolicy.REPORT))
    by_hand(loop, a=5)
    often = Memory(ONE, "one", {"/a": Spell("v", (NOW - 30, NOW - 20, NOW - 10), 9)})
    (resource,) = report(loop, desired, often).resources
    assert (resource.times, resource.fight, resource.advice) == (9, False, None)


def test_a_resource_that_is_gone() -> None:
    """It is made again; if that happens again and again there is nothing to ignore."""
    loop, desired = served({"a": 1})
    loop.target.records.clear()
    gone = Memory(ONE, "one", {WHOLE: Spell("gone", (NOW - 30, NOW - 20, NOW - 10), 3)})
    (resource,) = report(loop, desired, gone).resources
    assert (resource.gone, resource.since, resource.times, resource.fight) == (True, NOW - 10, 3, True)
    assert (resource.advice, resource.sync) == (None, Sync.DRIFTED)


@pytest.mark.parametrize("policy", ["heal", "report"])
def test_what_is_held_says_why(policy: str) -> None:
    """Of a suspended service nothing is taken back; what is only reported is not held by that."""
    made = Policy(drift=FieldPolicy(policy), suspend=True)
    loop, _ = served({"a": 1}, Policy())
    by_hand(loop, a=5)
    (resource,) = report(loop, [want("one", {"a": 1}, policy=made)]).resources
    assert resource.fields[0].next is (Next.HELD if policy == "heal" else Next.REPORT)
    assert ("suspended" in resource.held) == (policy == "heal")
    assert resource.sync is Sync.DRIFTED


def test_one_service_alone() -> None:
    """Asked about one service the report is about nothing else."""
    loop = Loop()
    desired = [want("one", {"a": 1}), want("two", {"a": 1})]
    loop.settle(desired)
    by_hand(loop, a=5)
    changed = [desired[0], want("two", {"a": 2})]
    assert report(loop, changed).sync is Sync.BOTH
    assert report(loop, changed, service="one").sync is Sync.DRIFTED
    two = report(loop, changed, service="two")
    assert (two.sync, two.resources) == (Sync.PENDING, ())


def test_differences_that_are_nobodys_drift_stand_aside() -> None:
    """Ignored fields with Git's value and the live one, fields that were never ours with what they were before."""
    policy = Policy(rules=rules(n="ignore", c="createOnly", theirs="ignore"))
    loop, desired = served({"a": 1, "n": 1, "c": 1}, policy)
    by_hand(loop, n=5, c=MISSING, theirs=1, other=2, d1="moved")
    seen = report(loop, desired)
    assert seen.resources == ()
    assert {(one.pointer, one.expected, one.now, one.policy, one.origin) for one in seen.aside} == {
        ("/n", 1, 5, FieldPolicy.IGNORE, "service"),
        ("/c", 1, MISSING, FieldPolicy.CREATE_ONLY, "service"),
        ("/theirs", MISSING, 1, FieldPolicy.IGNORE, "service"),
        ("/other", MISSING, 2, None, ""),
        ("/d1", "default", "moved", None, ""),
    }
    assert report(loop, desired, observations={}).aside == ()


def test_by_default_ignored_fields_stand_aside_with_the_default() -> None:
    """Where the default leaves a field to others, the default's origin is told."""
    policy = Policy(drift=FieldPolicy.IGNORE, origin="target t")
    loop, desired = served({"a": 1}, policy)
    by_hand(loop, a=5)
    assert [(one.pointer, one.policy, one.origin) for one in report(loop, desired).aside] == [
        ("/a", FieldPolicy.IGNORE, "target t")
    ]


def test_what_is_blocked_or_refused_counts_as_what_it_is_about() -> None:
    """A suspended drift is drift and nothing pending; a protected resource that Git dropped is pending."""
    loop, _ = served({"a": 1}, Policy(protect=True))
    by_hand(loop, a=5)
    suspended = plan(loop.situation([want("one", {"a": 1}, policy=Policy(protect=True, suspend=True))]))
    assert unsettled(suspended) == {ONE: Sync.DRIFTED}
    assert unsettled(plan(loop.situation([]))) == {ONE: Sync.PENDING}
    assert [one.pending for one in (Sync.KEPT, Sync.BOTH, Sync.PENDING)] == [False, True, True]
