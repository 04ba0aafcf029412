"""What is recorded, what is filled in, what is reported, and the ids and healths of resources."""

from __future__ import annotations

from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.change import Action, Carried, Change, Drift, DriftedField, FieldChange, Step
from reconciler.core.contents import Revision
from reconciler.core.deployment import Environment, ModelVersion
from reconciler.core.errors import InvalidError
from reconciler.core.memo import Memo
from reconciler.core.order import in_order
from reconciler.core.outputs import fill, fill_change
from reconciler.core.plan import plan
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Position, Problem, Severity, errors_of
from reconciler.core.record import confirmed, intended, undone
from reconciler.core.report import ReportMemo, report_of
from reconciler.core.resources import Baseline, Completeness, Desired, Health, Mark, Observation, Observed, ResourceId
from reconciler.core.secrets import Secret, seal
from reconciler.core.sync import Sync
from reconciler.core.values import MISSING, Unknown

from .conftest import QUICK
from .model import US, Loop, id_of, want

ID = id_of("one")
REPORT = Policy(rules=(DriftRule("/a", FieldPolicy.REPORT),))


def change(spec: dict[str, Any], before: dict[str, Any], **more: Any) -> Change:
    """A change of one resource under the policy that reports `/a`."""
    desired = want("one", spec, policy=REPORT)
    return Change(**{"id": ID, "action": Action.UPDATE, "desired": desired, "observed": Observed(ID, before), **more})


def test_a_write_records_what_was_sent_and_answered() -> None:
    """Without drift both are taken as they are, with the mark's revision and protection."""
    mark = Mark(US, "one", "rev", "d", str(ID), protect=True)
    made = confirmed(
        change({"a": 1}, {}, mark=mark, service="one"), Observed(ID, {"a": 1, "d": 2}, outputs={"o": 1}), None
    )
    assert made == Baseline(ID, "one", {"a": 1}, {"a": 1, "d": 2}, {"o": 1}, "rev", protect=True)


def test_reported_drift_is_kept_in_the_record() -> None:
    """A write of another field does not make reported drift the norm; a write of that very field does."""
    stays = (DriftedField("/a", 1.0, 5, 1, FieldPolicy.REPORT),)
    other = change({"a": 5, "b": 2}, {"a": 5, "b": 1}, fields=(FieldChange("/b", 1, 2),), reported=stays)
    made = confirmed(other, Observed(ID, {"a": 5, "b": 2}), None)
    assert (made.sent, made.answered) == ({"a": 1, "b": 2}, {"a": 1.0, "b": 2})
    assert intended(other) == made.sent
    same = change({"a": 7, "b": 1}, {"a": 5, "b": 1}, fields=(FieldChange("/a", 5, 7),))
    made = confirmed(same, Observed(ID, {"a": 7, "b": 1}), None)
    assert (made.sent, made.answered) == ({"a": 7, "b": 1}, {"a": 7, "b": 1})


def test_what_is_carried_along_is_never_ours() -> None:
    """A field of others that a rule leaves to them is written with the rest and not recorded as sent."""
    carrying = change({"b": 2, "m": {"theirs": 7, "x": 1}}, {}, carried=(Carried("/m/theirs", 7),))
    made = confirmed(carrying, Observed(ID, {"b": 2, "m": {"theirs": 7, "x": 1}}), None)
    assert (made.sent, made.answered) == ({"b": 2, "m": {"x": 1}}, {"b": 2, "m": {"theirs": 7, "x": 1}})


def test_a_deletion_intends_nothing() -> None:
    """What is to be deleted has nothing that could be sent."""
    assert intended(change({"a": 1}, {}, action=Action.DELETE)) is None
    assert intended(Change(ID, Action.FORGET)) is None


def test_going_back_observes_the_policies() -> None:
    """The version before comes back with what others changed meanwhile, and with the texts of its secrets."""
    policy = Policy(rules=(DriftRule("/a", FieldPolicy.REPORT), DriftRule("/n", FieldPolicy.IGNORE)))
    key, stored = seal(b"k", "text"), Secret(seal(b"k", "text").fingerprint)
    desired = want("one", {"a": 5, "b": 2, "n": 7, "new": 1, "key": key}, policy=policy)
    mark = Mark(US, "one", "rev", "d", str(ID))
    stays = (DriftedField("/a", 1, 5, 1, FieldPolicy.REPORT),)
    failed = Change(ID, Action.UPDATE, desired=desired, mark=mark, reported=stays)
    there = Observed(ID, {"a": 5, "b": 2, "n": 8, "new": 1, "key": stored})
    back = undone(failed, there, {"a": 1, "b": 1, "n": 2, "key": stored})
    assert {f.pointer: f.after for f in back.fields} == {"/b": 1, "/new": MISSING}
    assert back.desired is not None
    assert back.desired.spec == {"a": 5, "b": 1, "n": 8, "key": stored}
    assert isinstance(back.desired.spec["key"], Secret)
    assert back.desired.spec["key"].reveal() == "text"
    assert (back.action, back.observed, [f.pointer for f in back.reported]) == (Action.UPDATE, there, ["/a"])


def test_something_only_known_by_its_mark_is_recorded_as_it_stands() -> None:
    """What Git does not name is recorded from the observation, its policy from before."""
    mark = Mark(US, "one", "rev", "d", str(ID), protect=True)
    made = confirmed(Change(ID, Action.ADOPT, steps=()), Observed(ID, {"a": 1}, mark), None)
    assert (made.sent, made.revision, made.protect, made.prune) == ({"a": 1}, "rev", True, True)
    prior = Baseline(ID, prune=False, depends_on=(id_of("x"),))
    made = confirmed(Change(ID, Action.ADOPT, steps=()), Observed(ID, {"a": 1}), prior)
    assert (made.prune, made.depends_on, made.revision) == (False, (id_of("x"),), "")


def test_filling_in() -> None:
    """Known outputs replace unknowns, others stay; without any the very same spec comes back."""
    spec = {"a": Unknown("t/k/n", "/x"), "l": [Unknown("t/k/m", "/y")]}
    outputs = {ResourceId("t", "k", "n"): {"x": 1}}
    assert fill(spec, outputs.get) == {"a": 1, "l": [Unknown("t/k/m", "/y")]}
    plain = {"a": 1}
    assert fill(plain, outputs.get) is plain


def test_a_change_that_turns_out_to_be_none() -> None:
    """If an unknown turns out to be what stands there, nothing is to be done."""
    desired = want("one", {"a": Unknown("t/k/n", "/x"), "b": 1})
    field = FieldChange("/a", 1, Unknown("t/k/n", "/x"))
    planned = Change(ID, Action.UPDATE, desired=desired, fields=(field,))
    same = fill_change(planned, {ResourceId("t", "k", "n"): {"x": 1}}.get)
    assert (same.action, same.steps, same.fields) == (Action.NOOP, (), ())
    other = fill_change(planned, {ResourceId("t", "k", "n"): {"x": 2}}.get)
    assert (other.action, [f.after for f in other.fields]) == (Action.UPDATE, [2])
    marked = replace(planned, fields=(field, FieldChange("/mark/protect", False, True)))
    kept = fill_change(marked, {ResourceId("t", "k", "n"): {"x": 1}}.get)
    assert [f.pointer for f in kept.fields] == ["/mark/protect"]
    assert fill_change(Change(ID, Action.DELETE), {}.get) == Change(ID, Action.DELETE)


# Reports


def test_a_report_tells_health_sync_and_why() -> None:
    """The worst health with its reason, what is pending and what drifted, models, address and revision."""
    loop = Loop()
    desired = [want("a", {"models": [{"name": "m", "version": "2"}]}), want("b", {"x": 1}), want("c", {"x": 1})]
    loop.settle(desired)
    records = loop.target.records
    records[id_of("a")] = replace(records[id_of("a")], outputs={"url": "http://x"})
    records[id_of("b")] = replace(records[id_of("b")], health=Health.DEGRADED, reason="exit 1", spec={"x": 2})
    situation = loop.situation([*desired, want("d", {})], suspended=frozenset({"c"}))
    made = plan(situation)
    report = report_of(US, made, situation.observations, {id_of("a"): "rev"}, {id_of("b"): 12.0})
    by_name = {service.name: service for service in report.services}
    a, b, c, d = (by_name[name] for name in "abcd")
    assert (a.models, a.url, a.revision, a.sync, a.health) == (
        ("m:2",),
        "http://x",
        "rev",
        Sync.IN_SYNC,
        Health.HEALTHY,
    )
    assert (b.health, b.reason, b.sync, b.drift_since) == (Health.DEGRADED, "exit 1", Sync.DRIFTED, 12.0)
    assert c.suspended
    assert (d.health, d.reason, d.sync) == (Health.MISSING, "not there", Sync.PENDING)
    assert report.health is Health.DEGRADED
    assert report.targets == {"t": "complete"}


def test_a_remembered_report_is_the_report() -> None:
    """Whatever changes between two looks, a report that builds on the last one is what it would be without."""
    loop = Loop()
    desired = [want("a", {"x": 1}), want("b", {"x": 1}), want("c", {"x": 1})]
    loop.settle(desired)
    records = loop.target.records
    memo, reports = Memo(), ReportMemo()
    kept = []
    situations = (
        lambda: loop.situation(desired),
        lambda: loop.situation(desired),
        lambda: records.update({id_of("b"): replace(records[id_of("b")], health=Health.DEGRADED)}),
        lambda: loop.situation(desired, suspended=frozenset({"a"})),
        lambda: records.update({id_of("c"): replace(records[id_of("c")], spec={"x": 2})}),
        lambda: loop.situation([want("a", {"x": 3}), *desired[1:]]),
        lambda: loop.situation(desired, observations={}),
        lambda: loop.situation(desired[:1]),
        lambda: records.clear(),
        lambda: loop.situation(desired),
    )
    for number, make in enumerate(situations):
        situation = make() or loop.situation(desired)
        revisions = {id_of("a"): f"revision {number // 4}"}
        report = report_of(US, plan(situation, memo), situation.observations, revisions, {}, reports)
        assert report == report_of(US, plan(situation), situation.observations, revisions, {})
        kept.append(report)
    assert kept[1].services[0] is kept[0].services[0]
    assert len(kept) == len(situations)


def test_a_report_names_what_holds_a_service_up() -> None:
    """A block or a refusal is the reason; drift that may not be healed now is no pending change."""
    loop = Loop()
    loop.settle([want("a", {"x": 1})])
    loop.target.put(id_of("a"), {"x": 2}, loop.target.records[id_of("a")].mark)
    loop.target.put(id_of("b"), {"x": 2}, None)
    situation = loop.situation([want("a", {"x": 1}), want("b", {"x": 1})], suspended=frozenset({"a"}))
    report = report_of(US, plan(situation), situation.observations, {})
    a, b = report.services
    assert ("suspended" in a.reason, a.sync) == (True, Sync.DRIFTED)
    assert ("not ours" in b.reason, b.sync) == (True, Sync.PENDING)


def test_a_report_has_what_git_does_not_name_and_still_runs() -> None:
    """A service whose manifest has errors, or that is protected or not pruned, is reported as kept, with the reason."""
    loop = Loop()
    policies = {"a": Policy(protect=True), "b": Policy(prune=False), "c": Policy()}
    loop.settle([want(name, {"x": 1}, policy=policy) for name, policy in policies.items()])
    situation = loop.situation([want("c", {"x": 1})])
    a, b, c = report_of(US, plan(situation), situation.observations, {id_of("a"): "rev"}).services
    assert ("protected" in a.reason, a.sync, a.health, a.revision) == (True, Sync.KEPT, Health.HEALTHY, "rev")
    assert ("prune: false" in b.reason, b.sync) == (True, Sync.KEPT)
    assert c.sync is Sync.IN_SYNC


def test_a_target_out_of_sight_is_unknown() -> None:
    """What cannot be seen is Unknown with the reason, never Missing; forgotten things are not reported."""
    down = {"t": Observation("t", Completeness.UNAVAILABLE, missing="down")}
    for observations, why in ((down, "down"), ({}, "target not looked at")):
        situation = Loop().situation([want("a", {})], observations=observations)
        (service,) = report_of(US, plan(situation), situation.observations, {}).services
        assert (service.health, service.reason) == (Health.UNKNOWN, why)
    loop = Loop()
    loop.settle([want("a", {})])
    loop.target.records.clear()
    situation = loop.situation([])
    assert report_of(US, plan(situation), situation.observations, {}).services == ()


@pytest.mark.parametrize(
    ("pending", "drifted", "word"),
    [
        (False, False, "in sync"),
        (True, False, "pending"),
        (False, True, "drifted"),
        (True, True, "pending and drifted"),
    ],
)
def test_the_word_for_two_questions(pending: bool, drifted: bool, word: str) -> None:
    """Pending and drifted are two questions with four answers."""
    assert Sync.of(pending=pending, drifted=drifted).value == word


# Small things


def test_ids_and_healths() -> None:
    """An id survives its text, also with a slash in the target; the worst health of none is Healthy."""
    id_ = ResourceId("registry/models", "model", "m:1")
    assert ResourceId.parse(str(id_)) == id_
    with pytest.raises(ValueError, match="not enough"):
        ResourceId.parse("only/two")
    assert Health.worst() is Health.HEALTHY
    assert Health.worst(Health.HEALTHY, Health.UNKNOWN, Health.DEGRADED) is Health.UNKNOWN
    mark = Mark(US, "s", "r", "d", str(id_), protect=True)
    assert Mark.from_json({**mark.to_json(), "later": 1}) == mark
    assert not Mark.from_json({}).protect


def test_field_changes_as_json() -> None:
    """An absent side has no key."""
    assert FieldChange("/a", MISSING, 1).to_json() == {"pointer": "/a", "cause": "pending", "after": 1}
    assert FieldChange("/a", 1, MISSING).to_json() == {"pointer": "/a", "cause": "pending", "before": 1}
    assert Drift(ID, "s", (), gone=True).healing
    assert not Drift(ID, "s", (DriftedField("/a", 1, 2, policy=FieldPolicy.REPORT),)).healing
    assert Drift(ID, "s", (DriftedField("/a", 1, 2, 3, FieldPolicy.REPORT, conflict=True),)).healing
    assert not Change(ID, Action.NOOP, steps=()).writes
    assert Change(ID, Action.UPDATE).steps == (Step.APPLY,)


def test_order() -> None:
    """What is needed comes first, otherwise the given order stays, and what is not among them is left out."""
    assert in_order("cab", {}) == ["c", "a", "b"]
    assert in_order("cab", {"c": ["b"], "a": ["zzz"]}) == ["a", "b", "c"]


@QUICK
@given(st.permutations(range(12)), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20))
def test_generations_come_one_after_the_other(nodes: list[int], edges: list[tuple[int, int]]) -> None:
    """Whatever depends on whatever: as a topological sort of the standard library has it, circles told."""
    depends_on: dict[int, list[int]] = {}
    for node, needed in edges:
        depends_on.setdefault(node, []).append(needed)
    sorter = TopologicalSorter({n: [d for d in depends_on.get(n, ()) if d in nodes] for n in nodes})
    expected: list[int] = []
    try:
        sorter.prepare()
    except CycleError:
        with pytest.raises(InvalidError, match="circle"):
            in_order(nodes, depends_on)
        return
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=nodes.index)
        expected += ready
        sorter.done(*ready)
    assert in_order(nodes, depends_on) == expected


def test_problems_print_their_place_and_way_out() -> None:
    """A problem tells file, line and column (or its subject), severity, code and hint, and sorts by place."""
    at = Position("services/a.yaml", 3, 7)
    problem = Problem("unknown-key", "unknown key 'x'", at, "did you mean 'y'?", "Service/a")
    assert str(problem) == "services/a.yaml:3:7: error: unknown key 'x' [unknown-key]\n    did you mean 'y'?"
    assert str(replace(problem, position=None, hint="")) == "Service/a: error: unknown key 'x' [unknown-key]"
    assert str(replace(problem, position=None, hint="", subject="")) == "error: unknown key 'x' [unknown-key]"
    assert [str(Position("f")), str(Position("f", 2))] == ["f", "f:2"]
    warning = replace(problem, position=None, severity=Severity.WARNING)
    assert sorted([problem, warning], key=lambda p: p.sort_key) == [warning, problem]
    assert errors_of([problem, warning]) == [problem]


def test_revisions_print_short_and_in_full() -> None:
    """For people seven digits, for records all of them; a dirty working copy says so."""
    revision = Revision("9c41f02aaa", "main", dirty=True)
    assert (str(revision), revision.short) == ("main@sha1:9c41f02aaa+dirty", "main@9c41f02+dirty")
    assert (str(Revision("9c41f02aaa")), Revision("9c41f02aaa").short) == ("sha1:9c41f02aaa", "9c41f02")


def test_models_name_their_file() -> None:
    """The last part of the path or address is what the entry script finds."""
    assert ModelVersion("m", "1", path="models/m.pkl").file_name == "m.pkl"
    assert ModelVersion("m", "1", uri="https://host/folder/m.pkl?sig=x").file_name == "m.pkl"
    assert str(ModelVersion("m", "1").id) == "registry/models/model/m:1"
    assert Environment().id.name == f"py-{Environment().identity[:12]}"


@pytest.mark.parametrize(
    ("recorded", "health", "reason"),
    [(False, Health.HEALTHY, ""), (True, Health.DEGRADED, "beside b is gone")],
)
def test_a_service_goes_on_without_an_accessory(recorded: bool, health: Health, reason: str) -> None:
    """It is not missing while it answers: what is still to be made is no matter of health, what is gone is told."""
    loop = Loop()
    loop.settle([want("a", {"x": 1})])
    beside = Desired(ResourceId(id_of("a").target, "beside", "b"), {"x": 1}, "a")
    desired = [want("a", {"x": 1}), beside]
    situation = loop.situation(desired)
    accessories = {beside.id.target: frozenset({"beside"})}
    revisions = {d.id: "rev" for d in desired[: 2 if recorded else 1]}
    (service,) = report_of(US, plan(situation), situation.observations, revisions, accessories=accessories).services
    assert (service.health, service.reason) == (health, reason)
    (bare,) = report_of(US, plan(situation), situation.observations, revisions).services
    assert bare.health is Health.MISSING
