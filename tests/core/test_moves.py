"""Moves: one plan makes the new one and then takes the old one away, or neither; and what looks like a move is said."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.change import Action, Disruption, Plan, Step
from reconciler.core.deployment import Deployment, EntryScript, Environment, Target
from reconciler.core.driver import Capabilities
from reconciler.core.moves import keeps_endpoint
from reconciler.core.plan import plan
from reconciler.core.policy import Policy
from reconciler.core.problems import Position
from reconciler.core.resources import Completeness, Desired, Mark, Observation
from reconciler.core.secrets import SecretRef, seal
from reconciler.core.smoke import SmokeTest

from .conftest import QUICK
from .model import KIND, SPECS, US, Died, Loop, ModelTarget, id_of, want

MOVED = {"moves": {"new": "old"}}
STAGED = Capabilities(
    frozenset({KIND}), stages=frozenset({KIND}), endpoints=frozenset({KIND}), hands_over=("/host", "/port")
)
RENAMES = Capabilities(frozenset({KIND}), renames=frozenset({KIND}), immutable=("/zone",))


def served(*names: str, capabilities: Capabilities = STAGED, spec: Any = None, **more: Any) -> Loop:
    """A loop at rest over some services."""
    loop = Loop(ModelTarget(capabilities=capabilities, defaults={}))
    loop.settle([want(name, spec if spec is not None else {"a": 1}, **more) for name in names])
    return loop


def told(made: Plan) -> list[tuple[str, Action]]:
    """What is done, in the order of the plan."""
    return [(change.id.name, change.action) for change in made.effective()]


def document(name: str) -> Deployment:
    """A service whose document stands in a file."""
    at = Position(f"services/{name}.yaml", 1, 1)
    return Deployment(name, Target("t", "local"), (), EntryScript("s.py", "", ""), Environment(), position=at)


def test_a_move_is_one_plan() -> None:
    """The new one is made and knows where it moves from, the old one goes and knows where to; others are untouched."""
    loop = served("old", "other")
    made = plan(loop.situation([want("new", {"a": 2}), want("other", {"a": 1})], **MOVED))
    assert told(made) == [("new", Action.CREATE), ("old", Action.DELETE)]
    arriving, leaving = made.effective()
    assert (arriving.moved_from, arriving.steps) == (id_of("old"), (Step.STAGE, Step.PROMOTE))
    assert (leaving.moved_to, leaving.successor, leaving.disruption) == (id_of("new"), "new", Disruption.NONE)
    assert leaving.reason == "moved to t/thing/new"
    assert made.warnings == ()


def test_once_applied_the_line_is_harmless_and_may_go() -> None:
    """With it or without it there is nothing left to do."""
    loop = served("old")
    desired = [want("new", {"a": 1})]
    loop.settle(desired, **MOVED)
    assert {i.name for i in loop.target.records} == {"new"}
    assert plan(loop.situation(desired, **MOVED)).empty
    assert plan(loop.situation(desired)).empty


def test_what_it_moved_from_may_never_have_been_here() -> None:
    """A target that knows the old name only from the document makes the new one as any other."""
    loop = served("other")
    made = plan(loop.situation([want("new", {"a": 1}), want("other", {"a": 1})], **MOVED))
    (change,) = made.effective()
    assert (change.action, change.moved_from, change.reason) == (Action.CREATE, None, "new in Git")


def test_a_move_is_part_of_the_digest() -> None:
    """What was reviewed as a move is not the same as making one and deleting another."""
    loop = served("old")
    desired = [want("new", {"a": 1})]
    assert plan(loop.situation(desired, **MOVED)).digest != plan(loop.situation(desired)).digest


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ({"host": "h", "port": 1}, {"host": "h", "port": 1}, True),
        ({"host": "h", "port": None}, {"host": "h", "port": None}, True),
        ({"host": "h", "port": 1}, {"host": "h"}, True),
        ({"host": "h", "port": 1}, {"host": "h", "port": 2}, False),
        ({"host": "h", "port": 1}, {"host": "other", "port": 1}, False),
    ],
)
def test_whether_the_endpoint_is_handed_over(before: dict[str, Any], after: dict[str, Any], kept: bool) -> None:
    """It is where host and port are the same or left to the target; else the old address stops answering."""
    loop = served("old", spec=before)
    old = loop.target.records[id_of("old")]
    assert keeps_endpoint(loop.situation([]), old, after) is kept
    *_, leaving = plan(loop.situation([want("new", after)], **MOVED)).effective()
    assert leaving.disruption is (Disruption.NONE if kept else Disruption.OUTAGE)


def test_the_new_one_is_not_made_while_the_old_one_must_stay() -> None:
    """Protected, suspended, busy, or with errors in other manifests: half a move is none, and each part says why."""
    for name, found in {
        "it is protected": (served("old", policy=Policy(protect=True)), {}),
        "suspended": (served("old"), {"suspended": frozenset({"old"})}),
        "errors": (served("old"), {"loaded_whole": False}),
        "in progress": (served("old"), {}),
    }.items():
        loop, more = found
        if name == "in progress":
            loop.target.records[id_of("old")] = replace(loop.target.records[id_of("old")], busy=True)
        made = plan(loop.situation([want("new", {"a": 1})], **MOVED, **more))
        assert made.empty
        (blocked,) = made.blocked
        assert name in blocked.reason
        assert "t/thing/old" in blocked.reason
        assert [k.id for k in made.kept] + [r.id for r in made.refusals] == [id_of("old")]


def test_a_protected_service_moves_in_two_merges() -> None:
    """The refusal names both of them, in the file where they are made."""
    loop = served("old", policy=Policy(protect=True))
    made = plan(loop.situation([want("new", {"a": 1})], **MOVED, deployments={"new": document("new")}))
    (refusal,) = made.refusals
    assert (refusal.code, refusal.id, refusal.approvable) == ("protected", id_of("old"), False)
    assert refusal.ways[0].edit == (
        "services/new.yaml:1:1, one merge: name: old, policy: {protect: false}; the next: movedFrom: old"
    )
    loop.settle([want("old", {"a": 1})])
    loop.settle([want("new", {"a": 1})], **MOVED)
    assert {i.name for i in loop.target.records} == {"new"}


def test_the_old_one_stays_where_the_new_one_cannot_be() -> None:
    """Something foreign stands at the new name: refused, and the old one serves on."""
    loop = served("old")
    loop.target.put(id_of("new"), {"a": 7}, None)
    made = plan(loop.situation([want("new", {"a": 1})], **MOVED))
    assert made.empty
    assert [r.code for r in made.refusals] == ["foreign"]
    assert [(k.id.name, k.code) for k in made.kept] == [("old", "moves-first")]


def test_a_move_does_not_ask_whether_to_prune() -> None:
    """`prune: false` speaks of what is taken out; what says where it went is not."""
    loop = served("old", policy=Policy(prune=False))
    loop.settle([want("new", {"a": 1}, policy=Policy(prune=False))], **MOVED)
    assert {i.name for i in loop.target.records} == {"new"}


def test_nothing_moves_at_a_target_that_was_partly_seen() -> None:
    """Neither made nor deleted."""
    loop = served("old")
    seen = {"t": Observation("t", Completeness.PARTIAL, dict(loop.target.records), "page 2")}
    made = plan(loop.situation([want("new", {"a": 1})], **MOVED, observations=seen))
    assert made.empty
    assert [k.code for k in made.kept] == ["partial-observation"]


def test_a_mark_without_record_moves_too() -> None:
    """After a lost record the old one is known by its mark: recorded, then deleted, and never the last to serve."""
    loop = served("old")
    loop.baselines.clear()
    loop.settle([want("new", {"a": 1})], **MOVED)
    assert {i.name for i in loop.target.records} == {"new"}


def test_both_there_is_the_middle_of_a_move() -> None:
    """A move that was interrupted goes on: what is in sync stays, what it moved from goes."""
    loop = served("old", "new")
    (change,) = plan(loop.situation([want("new", {"a": 1})], **MOVED)).effective()
    assert (change.id.name, change.action, change.moved_to) == ("old", Action.DELETE, id_of("new"))
    assert change.reason == "moved to t/thing/new"


def test_a_service_of_several_resources_is_paired_by_name() -> None:
    """Each new resource moves from the one of the same kind whose name fits; what has no partner just goes."""
    names = ("old-a", "old-b", "rest")
    loop = Loop(ModelTarget(capabilities=STAGED, defaults={}))
    loop.settle([replace(want(name, {}), service="old") for name in names])
    desired = [replace(want(name, {}), service="new") for name in ("new-a", "new-b")]
    made = plan(loop.situation(desired, **MOVED))
    arriving = {c.id.name: c.moved_from for c in made.effective() if c.action is Action.CREATE}
    assert arriving == {"new-a": id_of("old-a"), "new-b": id_of("old-b")}
    leaving = [c for c in made.effective() if c.action is Action.DELETE]
    assert {(c.id.name, c.moved_to, c.successor) for c in leaving} == {
        ("old-a", id_of("new-a"), "new"),
        ("old-b", id_of("new-b"), "new"),
        ("rest", None, "new"),
    }


# Rails


def test_moves_count_as_replacements() -> None:
    """Half of ten under new names: refused unless the successors pass tests first; a target is never emptied by it."""
    names = [f"s{n}" for n in range(10)]
    moves = {f"n{n}": f"s{n}" for n in range(5)}
    for tests, codes in (((), ["too-many-deletes"]), ((SmokeTest("t"),), [])):
        loop = served(*names, tests=tests)
        desired = [want(f"n{n}", {"a": 1}, tests=tests) for n in range(5)]
        desired += [want(name, {"a": 1}, tests=tests) for name in names[5:]]
        made = plan(loop.situation(desired, moves=moves))
        assert [r.code for r in made.refusals] == codes
        assert all("0 deletes and 5 replaces" in r.message for r in made.refusals)
    loop = served("one", "two")
    desired = [want("uno", {"a": 1}), want("due", {"a": 1})]
    assert plan(loop.situation(desired, moves={"uno": "one", "due": "two"})).refusals == ()


# Targets that rename


def test_where_the_target_renames_a_move_is_an_update() -> None:
    """With its other changes in the same write; nothing is deleted, so protection does not stand against it."""
    loop = served("old", capabilities=RENAMES, policy=Policy(protect=True))
    made = plan(loop.situation([want("new", {"a": 2}, policy=Policy(protect=True))], **MOVED))
    (change,) = made.effective()
    assert (change.action, change.moved_from, change.disruption) == (Action.UPDATE, id_of("old"), Disruption.NONE)
    assert [(f.pointer, f.after) for f in change.fields] == [("/mark/self", "t/thing/new"), ("/a", 2)]
    assert (made.kept, made.refusals) == ((), ())


def test_what_cannot_be_renamed_is_made_beside() -> None:
    """An immutable field changes too: then the new one is made first, as anywhere else."""
    loop = served("old", capabilities=RENAMES, spec={"zone": "a"})
    assert told(plan(loop.situation([want("new", {"zone": "b"})], **MOVED))) == [
        ("new", Action.CREATE),
        ("old", Action.DELETE),
    ]


def test_a_rename_that_is_stopped_deletes_nothing() -> None:
    """Suspended under its old name: not renamed, and not taken for gone."""
    loop = served("old", capabilities=RENAMES)
    made = plan(loop.situation([want("new", {"a": 1})], **MOVED, suspended=frozenset({"old"})))
    assert made.empty
    assert [k.code for k in made.kept] == ["suspended"]


@QUICK
@given(SPECS, SPECS, st.integers(0, 4), st.sampled_from(["before", "after"]), st.booleans(), st.booleans())
def test_a_move_that_dies_goes_on(
    before: dict[str, Any], after: dict[str, Any], write: int, moment: str, lost: bool, renames: bool
) -> None:
    """Whatever died on the way and whether or not the record is lost: there is always one, at last only the new one."""
    loop = Loop(ModelTarget(capabilities=Capabilities(frozenset({KIND}), renames=frozenset({KIND} if renames else ()))))
    loop.settle([want("old", before)])
    with contextlib.suppress(Died):
        loop.reconcile([want("new", after)], lambda number, when: number == write and when == moment, **MOVED)
    assert loop.target.records
    if lost:
        loop.baselines.clear()
    loop.settle([want("new", after)], **MOVED)
    assert set(loop.target.records) == set(loop.baselines) == {id_of("new")}
    assert loop.target.records[id_of("new")].owned_by(US)


# What looks like a move


def test_a_rename_is_pointed_out_with_the_line_to_add() -> None:
    """Same content but for generated keys, which follow the name: a warning at the new document."""
    keyed = {"a": 1, "keys": {"primary": seal(b"k", "old", SecretRef("generated", "old/primary/0"))}}
    loop = served("old", "other", spec=keyed)
    renewed = {"a": 1, "keys": {"primary": seal(b"k", "new", SecretRef("generated", "new/primary/0"))}}
    desired = [want("new", renewed), want("other", keyed), want("else", {"a": 2})]
    made = plan(loop.situation(desired, deployments={"new": document("new")}))
    (warning,) = made.warnings
    assert (warning.code, str(warning.position), warning.subject) == (
        "looks-renamed",
        "services/new.yaml:1:1",
        "Service/new",
    )
    assert warning.hint == "if it was renamed, add to its metadata: `movedFrom: old`"
    reasons = {c.id.name: c.reason for c in made.effective()}
    assert "same content as t/thing/old" in reasons["new"]
    assert reasons["else"] == "new in Git"
    assert plan(loop.situation(desired, moves={"new": "old"})).warnings == ()


def test_what_is_kept_for_a_while_may_have_been_renamed() -> None:
    """A model under another name holds the same bytes, whatever else is said of it."""
    capabilities = Capabilities(frozenset({KIND}), retained=frozenset({KIND}), content=("/digest",))
    loop = Loop(ModelTarget(capabilities=capabilities, defaults={}))

    def model(name: str, **spec: Any) -> Desired:
        return replace(want(name, {"name": name, **spec}), service="")

    loop.settle([model("old:3", digest="sha256:1"), model("unknown:1")])
    made = plan(loop.situation([model("new:1", digest="sha256:1"), model("other:1", digest="sha256:2"), model("x:1")]))
    (warning,) = made.warnings
    assert warning.subject == "Model/new"
    assert warning.hint.endswith("`movedFrom: old`")
    assert [k.code for k in made.kept] == ["retained", "retained"]


# Data


def test_a_protected_resource_is_not_replaced_by_an_empty_one() -> None:
    """Where replacing loses data, protection refuses it; lifted in one merge, it goes through in the next."""
    capabilities = Capabilities(frozenset({KIND}), immutable=("/zone",), holds_data=frozenset({KIND}))
    loop = served("one", capabilities=capabilities, spec={"zone": "a"}, policy=Policy(protect=True))
    made = plan(loop.situation([want("one", {"zone": "b"})], deployments={"one": document("one")}))
    assert made.empty
    (refusal,) = made.refusals
    assert (refusal.code, refusal.approvable) == ("protected", False)
    assert "/zone" in refusal.message
    assert refusal.ways[1].edit == (
        "services/one.yaml:1:1, below spec: one merge: policy: {protect: false}; the next: /zone"
    )
    loop.settle([want("one", {"zone": "a"})])
    (change,) = loop.reconcile([want("one", {"zone": "b"})]).effective()
    assert (change.action, change.disruption) == (Action.REPLACE, Disruption.DATA_LOSS)
    *_, leaving = plan(loop.situation([])).effective()
    assert leaving.disruption is Disruption.DATA_LOSS


def test_a_protected_resource_without_data_is_replaced() -> None:
    """Replacing is not deleting: what protects is there for what cannot be made again."""
    capabilities = Capabilities(frozenset({KIND}), immutable=("/zone",))
    loop = served("one", capabilities=capabilities, spec={"zone": "a"}, policy=Policy(protect=True))
    (change,) = plan(loop.situation([want("one", {"zone": "b"}, policy=Policy(protect=True))])).effective()
    assert change.action is Action.REPLACE


def test_a_mark_of_another_resource_moves_nothing() -> None:
    """A copy that says it belongs to the old service is not ours to move."""
    loop = served("other")
    loop.target.put(id_of("old"), {"a": 1}, Mark(US, "old", "r", "d", "t/thing/original"))
    made = plan(loop.situation([want("new", {"a": 1}), want("other", {"a": 1})], **MOVED))
    assert told(made) == [("new", Action.CREATE)]
    assert next(made.effective()).moved_from is None
