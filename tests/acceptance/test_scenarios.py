"""Behaviour that people rely on, over real Git repos and memory targets: what is refused, kept, lifted, adopted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.saved import what_is_left
from reconciler.core.change import Action
from reconciler.core.errors import StaleError
from reconciler.core.situation import Rails
from reconciler.engine.approvals import approve
from reconciler.engine.identity import Identity
from reconciler.engine.outcome import ApplyOptions, Outcome
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.saved import load, save
from reconciler.engine.store import Store
from reconciler.engine.summary import exit_code_of
from reconciler.targets.memory import Fault
from reconciler.targets.memory.driver import MemoryDriver
from tests.daemon.rig import INSTALLATION, JsonStates, Rig, service

IDENTITY = Identity(INSTALLATION, b"k" * 32)


class Place(Rig):
    """A rig whose reconciler is called directly."""

    def reconciler(self, store: Store | None = None, installation: str = INSTALLATION, **rails: Any) -> Reconciler:
        """An engine over this rig's repo and worlds; with another installation, another's."""
        drivers = {name: MemoryDriver(name, world, installation) for name, world in self.worlds.items()}
        return Reconciler(
            self.source.tree,
            JsonStates(self.names),
            lambda targets: ({n: drivers[n] for n in targets if n in drivers}, []),
            [],
            store or self.store,
            self.clock,
            installation,
            Rails(**rails),
        )

    def go(self, *allowed: str, engine: Reconciler | None = None) -> Outcome:
        """One reconcile of the newest commit."""
        engine = engine or self.reconciler()
        with engine.store.writing("test"):
            return engine.carry_out(engine.look(), ApplyOptions(allowed=frozenset(allowed), ignore_holds=True))

    def settle(self) -> None:
        """Reconciles until nothing is left to do; deletions take two looks."""
        for _ in range(4):
            self.go()

    def names_of(self, target: str = "east") -> list[str]:
        """What stands at a target."""
        return [name.partition("/")[2] for name in self.worlds[target].names()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A repo, a store and two targets."""
    made = Place(tmp_path, watch=False)
    yield made
    made.close()


def codes(outcome: Outcome) -> list[str]:
    """Of what was refused."""
    return [refusal.code for refusal in outcome.refusals]


@pytest.mark.parametrize("error", ["500", "429", "timeout", "broken"])
@pytest.mark.parametrize("page", [1, 2])
def test_a_listing_that_fails_deletes_nothing_and_is_told(place: Place, error: str, page: int) -> None:
    """Whatever the failure and wherever it strikes: no delete is planned, the exit code is 12, nothing goes."""
    place.commit(*(service(f"s{n}") for n in range(4)))
    place.settle()
    place.commit(service("s0"))
    for _ in range(3):
        place.worlds["east"].page_size(2)
        place.worlds["east"].fault(Fault("list", error, page=page))
        outcome = place.go()
        place.worlds["east"].clear_faults()
        assert outcome.plan.count(Action.DELETE) == 0
        assert exit_code_of(outcome) == 12
    assert len(place.names_of()) == 4
    place.settle()
    assert place.names_of() == ["s0"]


def test_a_repo_that_renders_to_nothing_empties_no_target(place: Place) -> None:
    """Two services and then none: refused with the way on, lifted by the flag, and only for that call."""
    place.commit(service("one"), service("two"))
    place.settle()
    place.commit()
    for _ in range(3):
        outcome = place.go()
        assert len(place.names_of()) == 2
    assert codes(outcome) == ["empties-target"]
    assert exit_code_of(outcome) == 13
    assert "--allow-empty" in outcome.refusals[0].advice
    assert codes(place.go("too-many-deletes")) == ["empties-target"]
    assert len(place.names_of()) == 2
    place.go("empties-target")
    place.go("empties-target")
    assert place.names_of() == []


def test_more_than_a_third_at_once_is_refused_and_lifted_by_percent(place: Place) -> None:
    """Four of ten: refused with the numbers; a limit of 39 % does not lift it, one of 40 % does."""
    place.commit(*(service(f"s{n}") for n in range(10)))
    place.settle()
    place.commit(*(service(f"s{n}") for n in range(6)))
    for _ in range(3):
        outcome = place.go()
    assert codes(outcome) == ["too-many-deletes"]
    assert "40.0 % of its 10 resources" in outcome.refusals[0].message
    assert "--max-delete 40" in outcome.refusals[0].advice
    assert codes(place.go(engine=place.reconciler(max_delete_percent=39.0))) == ["too-many-deletes"]
    assert len(place.names_of()) == 10
    assert codes(place.go(engine=place.reconciler(max_delete_percent=40.0))) == []
    assert len(place.names_of()) == 6


def test_an_approval_is_of_that_plan_only(place: Place) -> None:
    """The approved digest goes through; with one more deletion in Git it is another plan, and refused."""
    place.commit(*(service(f"s{n}") for n in range(10)))
    place.settle()
    place.commit(*(service(f"s{n}") for n in range(5)))
    for _ in range(2):
        outcome = place.go()
    with place.store.writing("test"):
        approve(place.store, outcome.plan.digest, "somebody", place.clock.now())
    place.commit(*(service(f"s{n}") for n in range(4)))
    for _ in range(2):
        assert codes(place.go()) == ["too-many-deletes"]
    assert len(place.names_of()) == 10
    place.commit(*(service(f"s{n}") for n in range(5)))
    place.go()
    place.go()
    assert len(place.names_of()) == 5


def test_protection_takes_two_merges_even_without_the_record(place: Place, tmp_path: Path) -> None:
    """Taken out of Git with its protection, it stays: the mark at the target says so, also to a fresh store."""
    place.commit(service("one", policy={"protect": True}), service("two"))
    place.settle()
    place.commit(service("two"))
    place.settle()
    assert codes(place.go()) == ["protected"]
    fresh = Store(tmp_path / "fresh.db", place.clock)
    for _ in range(3):
        place.go(engine=place.reconciler(fresh))
    fresh.close()
    assert "one" in place.names_of()
    place.commit(service("one"), service("two"))
    place.settle()
    place.commit(service("two"))
    place.settle()
    assert place.names_of() == ["two"]


def test_a_rename_is_pointed_out(place: Place) -> None:
    """The same content under another name: the plan asks whether it was renamed."""
    place.commit(service("ridge", image="same"), service("other"))
    place.settle()
    place.commit(service("ridge-regression", image="same"), service("other"))
    place.reconciler().look()
    plans = [place.reconciler().look().plan for _ in range(2)]
    (created,) = [c for c in plans[-1].changes if c.action is Action.CREATE]
    assert "renamed?" in created.reason
    assert "ridge" in created.reason


def test_an_ignored_field_keeps_its_live_value_when_another_changes(place: Place) -> None:
    """What somebody scaled by hand stays scaled, in the plan and in what is written."""
    policy = {"rules": {"/replicas": "ignore"}}
    place.commit(service("one", replicas=1, policy=policy))
    place.settle()
    place.worlds["east"].edit("service/one", "/replicas", 5)
    assert place.go().plan.empty
    place.commit(service("one", image="two", replicas=1, policy=policy))
    place.settle()
    native = place.worlds["east"].native("service/one") or {}
    assert (native["image"], native["replicas"]) == ("two", 5)


def test_another_way_of_computing_digests_recreates_nothing(place: Place) -> None:
    """Marks with digests of another release, and no record: adopted or marked anew, never replaced or doubled."""
    place.commit(service("one"), service("two"))
    place.settle()
    world = place.worlds["east"]
    for name in world.names():
        world.set_mark(name, {**(world.mark(name) or {}), "specDigest": "f" * 64})
    before = {name: world.native(name) for name in world.names()}
    plan = place.reconciler().look().plan
    assert plan.count(Action.CREATE) + plan.count(Action.REPLACE) + plan.count(Action.DELETE) == 0
    place.settle()
    assert {name: world.native(name) for name in world.names()} == before
    assert place.go().plan.empty


def test_another_identity_makes_everything_foreign_and_touches_nothing(place: Place, tmp_path: Path) -> None:
    """Without the identity file what runs is somebody else's: refused with the way on, nothing deleted or changed."""
    place.commit(service("one"), service("two"))
    place.settle()
    before = place.worlds["east"].writes
    fresh = Store(tmp_path / "fresh.db", place.clock)
    outcome = place.go(engine=place.reconciler(fresh, "rc-somebody-else"))
    place.commit(service("one"))
    for _ in range(3):
        place.go(engine=place.reconciler(fresh, "rc-somebody-else"))
    fresh.close()
    assert codes(outcome) == ["foreign", "foreign"]
    assert exit_code_of(outcome) == 13
    assert all("adopt" in refusal.advice for refusal in outcome.refusals)
    assert place.worlds["east"].writes == before


def test_a_throttled_target_holds_up_no_other(place: Place) -> None:
    """429 on one target is waited for there; the other is done."""
    place.worlds["east"].fault(Fault("*", "429", times=-1, retry_after=0.01))
    place.commit(service("one", "east"), service("two", "west"))
    outcome = place.go()
    assert place.names_of("west") == ["two"]
    assert exit_code_of(outcome) == 12
    place.worlds["east"].clear_faults()
    place.go()
    assert place.names_of("east") == ["one"]


def test_a_broken_document_among_many_deletes_nothing(place: Place) -> None:
    """While one service is broken the others are carried out, and what Git took out stays until all loads again."""
    place.commit(service("one"), service("two"), service("three"))
    place.settle()
    place.commit(service("one", image="new"), service("two") | {"broken": True})
    for _ in range(3):
        with place.store.writing("test"):
            engine = place.reconciler()
            engine.carry_out(engine.look(), ApplyOptions(partial=True))
    assert sorted(place.names_of()) == ["one", "three", "two"]
    assert (place.worlds["east"].native("service/one") or {})["image"] == "new"


class Reviewing:
    """A plan that was saved, and applying it as the command does."""

    def __init__(self, place: Place, path: Path) -> None:
        self.place, self.path = place, path
        self.look = place.reconciler().look(holds=False)
        save(path, self.look, IDENTITY, origin="here", follows="main")

    def apply(self) -> Outcome:
        """Applies it, or raises why not."""
        engine = self.place.reconciler()
        with engine.store.writing("test"):
            look = engine.look(None, self.look.tree, holds=False)
            saved = load(self.path, IDENTITY)
            what_is_left(saved, look)
            return engine.carry_out(look, ApplyOptions(ignore_holds=True, only=saved.reviewed))


def test_a_saved_plan_survives_changes_of_what_it_does_not_touch(place: Place, tmp_path: Path) -> None:
    """Others drift, appear and are reconciled without need: it is applied, and nothing but it."""
    place.commit(service("a"), service("b"), service("c", "west"))
    place.settle()
    place.commit(service("a", image="two"), service("b"), service("c", "west"))
    plan = Reviewing(place, tmp_path / "p.json")
    place.worlds["east"].edit("service/b", "/image", "by-hand")
    place.worlds["east"].edit("service/a", "/theirs", "not ours")
    place.worlds["west"].put_foreign("service/new", {"image": "x"})
    outcome = plan.apply()
    assert [(result.id.name, result.state.value) for result in outcome.results] == [("a", "done")]
    assert place.worlds["east"].native("service/a")["image"] == "two"  # type: ignore[index]
    assert place.worlds["east"].native("service/b")["image"] == "by-hand"  # type: ignore[index]
    assert exit_code_of(plan.apply()) == 0


def test_a_saved_plan_whose_resource_changed_is_refused_with_the_difference(place: Place, tmp_path: Path) -> None:
    """The touched resource changed by hand, or is gone: nothing is done, and the message says what would be else."""
    place.commit(service("a"), service("b"))
    place.settle()
    place.commit(service("a", image="two"), service("b"))
    plan = Reviewing(place, tmp_path / "p.json")
    place.worlds["east"].edit("service/a", "/image", "by-hand")
    writes = place.worlds["east"].writes
    with pytest.raises(StaleError, match=r"/image  by-hand → two, was one → two") as caught:
        plan.apply()
    assert caught.value.exit_code == 14
    place.worlds["east"].remove("service/a")
    with pytest.raises(StaleError, match=r"action  create, was update"):
        plan.apply()
    assert place.worlds["east"].writes == writes


def test_a_saved_plan_is_not_made_stale_by_doing_nothing(place: Place, tmp_path: Path) -> None:
    """Reconciles in between that have nothing to do bump nothing that it hangs on."""
    place.commit(service("a"))
    place.settle()
    (before,) = [place.reconciler().look(holds=False).plan.digest]
    place.commit(service("a", image="two"))
    plan = Reviewing(place, tmp_path / "p.json")
    sha = place.git("rev-parse", "HEAD")
    place.git("checkout", "-q", "HEAD~1")
    for _ in range(3):
        assert not place.go().results
    place.git("checkout", "-q", sha)
    assert place.reconciler().look(holds=False).plan.digest == plan.look.plan.digest != before
    assert [result.state.value for result in plan.apply().results] == ["done"]


def test_doing_nothing_writes_nothing(place: Place) -> None:
    """A reconcile without changes makes no call that changes and leaves every row as it was."""
    place.commit(service("one"), service("two", "west"))
    place.settle()
    before = {name: world.writes for name, world in place.worlds.items()}
    rows = dict(place.store.baselines()), place.store.history(100)
    assert place.go().plan.empty
    assert {name: world.writes for name, world in place.worlds.items()} == before
    assert (dict(place.store.baselines()), place.store.history(100)) == rows
