"""Whatever is wanted and whatever goes wrong at memory targets: it comes to rest, and leaves alone what is not ours."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.change import Action
from reconciler.core.resources import Completeness, Desired
from reconciler.engine.store import Store
from reconciler.targets.memory.faults import Fault
from reconciler.targets.memory.world import World
from tests.engine.conftest import FakeClock
from tests.engine.harness import House, digest_of, service, source
from tests.searching import deeply

NAMES = [f"s{n}" for n in range(6)]
FAULTS = st.sampled_from(
    [
        Fault("list", "500"),
        Fault("list", "429", page=2),
        Fault("list", "timeout", skip=1),
        Fault("write", "503"),
        Fault("write", "422"),
        Fault("write", "412"),
        Fault("delete", "500"),
    ]
)


@st.composite
def wishes(draw: Any) -> tuple[Desired, ...]:
    """Some services at two targets, some made of something that has to be made first, in any order."""
    found: list[Desired] = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5)):
        target, image = draw(st.sampled_from(["east", "west"])), draw(st.sampled_from(["one", "two"]))
        kind = draw(st.sampled_from(["service", "plain"]))
        if draw(st.booleans()):
            made = source(f"of-{name}", image, draw(st.sampled_from(["east", "west"])))
            found += [made, service(name, target, kind=kind, image=digest_of(made), needs=[str(made.id)])]
        else:
            found.append(service(name, target, kind=kind, image=image))
    return tuple(draw(st.permutations(found)))


def live(rounds: list[tuple[tuple[Desired, ...], list[tuple[str, Fault]]]], folder: Path) -> None:
    """Commits one after the other, each under faults and then without, until nothing is left to do."""
    clock = FakeClock()
    store = Store(folder / "state.db", clock)
    house = House(store, clock, {"east": World(), "west": World()})
    for world in house.worlds.values():
        world.page_size(3)
        world.put_foreign("service/theirs", {"image": "x"})
    theirs = {name: world.native("service/theirs") for name, world in house.worlds.items()}
    allowed = frozenset({"empties-target", "too-many-deletes"})
    try:
        for wanted, faults in rounds:
            house.want(*wanted)
            for name, fault in faults:
                house.worlds[name].fault(fault)
            made = house.plan()
            for change in made.effective():
                if change.action in (Action.DELETE, Action.FORGET):
                    assert made.targets[change.id.target] is Completeness.COMPLETE
            house.go(allowed=allowed, wait=False)
            for world in house.worlds.values():
                world.clear_faults()
            for _ in range(4):
                if house.go(allowed=allowed, ignore_holds=True).plan.empty:
                    break
            assert house.reconciler.look(holds=False).plan.empty
            for name, world in house.worlds.items():
                ours = {f"{d.id.kind}/{d.id.name}" for d in wanted if d.id.target == name}
                assert set(world.names()) == {*ours, "service/theirs"}
                assert world.native("service/theirs") == theirs[name]
            writes = {name: world.writes for name, world in house.worlds.items()}
            house.go(allowed=allowed)
            assert {name: world.writes for name, world in house.worlds.items()} == writes
    finally:
        store.close()


ROUNDS = st.lists(
    st.tuples(wishes(), st.lists(st.tuples(st.sampled_from(["east", "west"]), FAULTS), max_size=2)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=8)
@given(ROUNDS)
def test_applying_a_plan_makes_the_next_one_empty(rounds: Any) -> None:
    """Any commits, with anything going wrong in between; what others made stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        live(rounds, Path(folder))


@pytest.mark.long
@settings(max_examples=deeply(250))
@given(ROUNDS)
def test_applying_a_plan_makes_the_next_one_empty_searched_deeply(rounds: Any) -> None:
    """The same with many more."""
    with tempfile.TemporaryDirectory() as folder:
        live(rounds, Path(folder))
