"""Services that move to another name, over memory targets: what serves when, what is recorded, whose keys they take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.change import Action
from reconciler.core.resources import Baseline, ResourceId
from reconciler.core.secrets import Secret
from reconciler.engine.keynames import KeyNames
from reconciler.engine.lifecycle import State
from reconciler.engine.snapshot.reading import key_names
from reconciler.engine.store import Store
from reconciler.targets.memory.faults import Crashed, Fault
from reconciler.targets.memory.world import World
from reconciler.views.service_history import of_service
from tests.core.conftest import QUICK
from tests.engine.harness import House, service


@dataclass
class Moving(House):
    """A house whose commits say who moved from where."""

    moves: dict[str, str] = field(default_factory=dict)

    def of(self, tree: object) -> Any:
        state = super().of(tree)
        return replace(state, moves=self.moves)


@pytest.fixture
def house(store: Store, clock) -> Moving:
    return Moving(store, clock, {"east": World(), "west": World()})


def names(house: Moving) -> list[str]:
    """What stands in the east."""
    return [key.partition("/")[2] for key in house.worlds["east"].names()]


@pytest.mark.parametrize("kind", ["service", "plain"])
def test_a_service_moves_in_one_run(house: Moving, kind: str):
    """The new name serves before the old one goes, or is the old one renamed; the next run has nothing to do."""
    house.want(service("old", kind=kind), service("other", kind=kind)).go()
    ended: list[str] = []
    house.on_progress = lambda event: ended.append(event.id.name) if event.state is State.DONE else None
    house.moves = {"new": "old"}

    outcome = house.want(service("new", kind=kind), service("other", kind=kind)).go()

    assert ended == (["new", "old"] if kind == "service" else ["new"])
    assert names(house) == ["new", "other"]
    assert [r.action for r in outcome.results] == (
        [Action.CREATE, Action.DELETE] if kind == "service" else [Action.UPDATE]
    )
    assert {i.name for i in house.store.baselines()} == {"new", "other"}
    assert house.go().plan.empty
    house.moves = {}
    assert house.go().plan.empty


def test_a_move_that_fails_leaves_the_old_one_serving(house: Moving):
    """The new version does not come up: nothing is deleted, then or later, until it does."""
    house.want(service("old"), service("other")).go()
    house.moves = {"new": "old"}
    house.want(service("new"), service("other"))
    house.worlds["east"].fault(Fault("stage", "422"))
    house.go(wait=False)
    held = house.go(wait=False)
    assert [k.code for k in held.plan.kept] == ["moves-first"]
    assert "old" in names(house)
    house.go(ignore_holds=True)
    assert names(house) == ["new", "other"]


def test_a_renamed_service_whose_tests_fail_goes_back_under_its_new_name(house: Moving):
    """Renaming cannot fail a test, what came with it can: that is undone, and the record knows the new name alone."""
    house.want(service("old", kind="plain")).go()
    house.moves = {"new": "old"}
    house.worlds["east"].fault(Fault("write", "422"))
    house.want(service("new", kind="plain", replicas=2)).go(wait=False)
    house.go(ignore_holds=True, wait=False)
    assert names(house) == ["new"]
    assert {i.name for i in house.store.baselines()} == {"new"}


@pytest.mark.parametrize("kind", ["service", "plain"])
@pytest.mark.parametrize("op", ["stage", "promote", "rename", "delete"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_in_a_move_converges(tmp_path: Path, clock, kind: str, op: str, when: str):
    """Whatever call died, one of both always stands, and the next process ends the move."""
    worlds = {"east": World()}
    first = Moving(Store(tmp_path / "s.db", clock), clock, worlds)
    first.want(service("old", kind=kind)).go()
    first.moves = {"new": "old"}
    worlds["east"].fault(Fault(op, "crash", when))
    try:
        first.want(service("new", kind=kind)).go()
    except Crashed:
        assert worlds["east"].names()
    first.store.close()
    worlds["east"].clear_faults()
    again = Moving(Store(tmp_path / "s.db", clock), clock, worlds, first.wanted, moves=first.moves)
    for _ in range(3):
        again.go(ignore_holds=True)
    assert names(again) == ["new"]
    assert {i.name for i in again.store.baselines()} == {"new"}
    assert again.store.key_names().of("new") == "old"
    again.store.close()


def test_the_history_of_a_service_goes_on_under_its_new_name(house: Moving):
    """What was done under the former name is the past of the present one, of others nothing."""
    house.want(service("old"), service("other")).go()
    house.moves = {"new": "old"}
    house.want(service("new"), service("other")).go()
    house.want(service("new", image="two"), service("other", image="two")).go()
    history = house.store.history(100)
    parts = [part.data["changes"] for part in of_service(history, "new")]
    told = [[(change["action"], ResourceId.parse(change["id"]).name) for change in part] for part in parts]
    assert told == [[("update", "new")], [("create", "new"), ("delete", "old")], [("create", "old")]]
    assert [p.data["changes"][0]["id"] for p in of_service(history, "other")] == ["east/service/other"] * 2
    assert list(of_service(history, "nobody")) == []


# Keys


def test_keys_follow_a_move_and_whoever_comes_after_gets_others():
    """The name that keys are made of goes with the service; the former name's next bearer has one of its own."""
    start = KeyNames()
    assert start.of("new", "old", lambda name: False) == "old"
    moved = start.moved("new", "old")
    assert (moved.of("new", "old"), moved.of("new"), moved.of("old")) == ("old", "old", "old#2")
    further = moved.moved("newest", "new")
    assert (further.of("newest"), further.of("new"), further.of("old")) == ("old", "new", "old#2")
    back = further.moved("old", "newest")
    assert (back.of("old"), back.of("newest")) == ("old", "newest")
    assert KeyNames.of_fact(back.to_fact()) == back


def test_a_snapshot_tells_what_keys_are_made_of():
    """By the labels of what was sent, whether or not they name what the reference gives now."""
    labels = {"old": "=generated:first/primary", "again": "!generated:old#2/secondary#1", "other": "=env:A"}
    sent = {service: {"auth": {"keys": {"primary": Secret(label)}}} for service, label in labels.items()}
    names = key_names(Baseline(ResourceId("t", "k", name), name, spec) for name, spec in sent.items())().of
    assert [names(service, "") for service in ("old", "again", "other", "fresh")] == [
        "first",
        "old#2",
        "other",
        "fresh",
    ]
    assert names("new", "old") == "first"


def test_a_line_added_later_changes_no_key():
    """A service that was served before keeps its keys, whatever its document comes to say."""
    assert KeyNames().of("new", "old", lambda name: True) == "new"


@QUICK
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=12))
def test_no_two_services_share_keys(moves: list[tuple[str, str]]):
    """Whoever moved wherever: at any time each name of a service leads to another name for keys."""
    served, keys = {"a", "b"}, KeyNames()
    for new, old in moves:
        if old in served and new not in served:
            before = keys.of(old)
            keys = keys.moved(new, old)
            served = (served - {old}) | {new}
            assert keys.of(new) == before
            assert keys.moved(new, old) == keys
        assert len({keys.of(name) for name in "abc"}) == 3
