"""What the target in memory adds to the contract: unknown outputs, two targets, files, clocks, logs, rendering."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.change import Action, Step
from reconciler.core.deployment import Deployment, EntryScript, Environment, ModelVersion, Settings, Target
from reconciler.core.driver import Endpoint, Events, InProgress, Logs
from reconciler.core.errors import InvalidError, TargetError, TerminalError
from reconciler.core.resources import Desired, Health, ResourceId
from reconciler.core.secrets import SecretRef
from reconciler.core.values import Unknown
from reconciler.targets.memory import Fault, MemoryDriver, World, driver_of
from reconciler.targets.memory.native import canon, from_native, to_native

from .harness import INSTALLATION, Bench
from .memory import MemoryFixture, SourceFixture

SPECS = st.fixed_dictionaries(
    {},
    optional={
        "cpuCores": st.integers(1, 64000).map(lambda milli: milli / 1000),
        "memoryGb": st.integers(1, 512000).map(lambda mega: mega / 1000),
        "ports": st.lists(st.integers(1, 65535), max_size=4),
        "environmentVariables": st.dictionaries(st.text("ABC", min_size=1), st.text(max_size=3), max_size=3),
        "replicas": st.integers(1, 9),
        "location": st.sampled_from(["West Europe", "westeurope", "NORTH EUROPE"]),
    },
)


def respelled(native: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """What the target may come to say of the same thing: other units, orders, cases, and fields of its own."""
    said = dict(native)
    if "cpu" in said and random.random() < 0.5:
        said["cpu"] = f"{int(said['cpu'].removesuffix('m')) / 1000}"
    if "memory" in said and random.random() < 0.5:
        said["memory"] = f"{int(said['memory'].removesuffix('M')) / 1000}G"
    if "location" in said:
        said["location"] = random.choice(
            [said["location"].title(), said["location"].lower(), "  ".join(said["location"])]
        )
    for name in ("env", "ports"):
        if name in said:
            said[name] = random.sample(said[name], len(said[name]))
    return {**said, "revision": random.randint(1, 9), "defaults": {"grace": 30}}


@given(SPECS)
def test_the_normal_form_is_a_fixed_point(spec: dict[str, Any]) -> None:
    """`canon(canon(x)) == canon(x)`, and what the target spells its own way reads back in normal form."""
    assert canon(canon(spec)) == canon(spec)
    native, _ = to_native(canon(spec))
    assert from_native(native) == canon(spec)


@given(SPECS, SPECS)
def test_the_second_plan_is_empty_for_any_spec(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Whatever is wanted, and then wanted instead, one reconcile is enough."""
    bench = MemoryFixture().bench()
    for spec in (first, second):
        desired = [Desired(ResourceId("mem", "plain", "one"), canon(spec), "one")]
        bench.reconcile(desired)
        assert bench.plan(desired).empty


@given(SPECS, st.randoms(use_true_random=False))
def test_however_the_target_spells_it_nothing_drifts(spec: dict[str, Any], random: Random) -> None:
    """Server defaults, units, orders and cases are no drift and no change, with a record and without."""
    fixture = MemoryFixture()
    bench, desired = fixture.bench(), [Desired(ResourceId("mem", "plain", "one"), canon(spec), "one")]
    bench.settle(desired)
    native = fixture.world.native("plain/one")
    assert native is not None
    for name, value in respelled(native, random).items():
        fixture.world.edit("plain/one", f"/{name}", value)
    made = bench.plan(desired)
    assert made.empty
    assert not made.drift
    bench.baselines.clear()
    made = bench.plan(desired)
    assert not made.drift
    assert {change.steps for change in made.effective()} == {()}


def deployment(name: str = "svc", target: str = "mem", **block: Any) -> Deployment:
    """A deployment with options of the memory target."""
    variables = {"A": "1", "TOKEN": SecretRef("env", "TOKEN")}
    return Deployment(
        name,
        Target(target, "memory"),
        (ModelVersion("m", "1", "sha256:00"), ModelVersion("late", "2", uri="https://x/y")),
        EntryScript("score.py", "src", "abc"),
        Environment(),
        settings=Settings(cpu_cores=0.5, memory_gb=1, port=80, environment_variables=variables, block=block),
    )


def test_rendering_a_deployment() -> None:
    """A service with its secrets apart, an unknown digest, and a source whose output it uses."""
    driver = MemoryDriver("mem", World(), INSTALLATION)
    source, service = driver.render(deployment(source="text", zone="a", ports=[2, 1], labels={"x": "y"}))
    assert source.id == ResourceId("mem", "source", "svc")
    assert service.spec["secrets"] == {"TOKEN": SecretRef("env", "TOKEN")}
    assert service.spec["environmentVariables"] == {"A": "1"}
    assert service.spec["image"] == Unknown("mem/source/svc", "/digest")
    assert service.spec["ports"] == [1, 2]
    assert source.id in service.depends_on
    (plain,) = driver.render(
        deployment(plain=True, dependsOn=["far/k/n"], fields={"x": 1}, **{"from": {"v": "a/b/c#/d"}})
    )
    assert (plain.id.kind, plain.spec["x"], plain.spec["v"]) == ("plain", 1, Unknown("a/b/c", "/d"))
    assert ResourceId("far", "k", "n") in plain.depends_on
    with pytest.raises(InvalidError) as caught:
        driver.render(deployment(surprise=1))
    assert caught.value.problems[0].code == "unknown-key"
    assert caught.value.hint


def test_an_unknown_from_another_target_is_filled_in() -> None:
    """One plan over two targets: the source first, its output then, and nothing left to do."""
    here, there = World(), World()
    bench = Bench(MemoryDriver("here", here, INSTALLATION), MemoryDriver("there", there, INSTALLATION))
    source = Desired(ResourceId("there", "source", "s"), {"content": "bytes"})
    user = Desired(ResourceId("here", "service", "u"), {"image": Unknown(str(source.id), "/digest")}, "u")
    made = bench.reconcile([user, source])
    assert [c.id for c in made.effective()] == [source.id, user.id]
    assert here.native("service/u")["image"] == SourceFixture.output("bytes")  # type: ignore[index]
    assert bench.plan([user, source]).empty
    changed = Desired(source.id, {"content": "other"})
    assert [c.action for c in bench.reconcile([user, changed]).effective()] == [Action.UPDATE, Action.UPDATE]
    assert here.native("service/u")["image"] == SourceFixture.output("other")  # type: ignore[index]
    there.fault(Fault("*", "broken", times=-1))
    other = Desired(user.id, {**user.spec, "replicas": 2}, "u")
    assert {b.id for b in bench.plan([other, changed]).blocked} == {source.id, user.id}


def test_an_unknown_that_nobody_filled_in_is_refused() -> None:
    """The driver does not write what is not known."""
    bench = MemoryFixture().bench()
    desired = Desired(ResourceId("mem", "plain", "u"), {"image": Unknown("mem/source/s", "/digest")}, "u")
    source = Desired(ResourceId("mem", "source", "s"), {"content": "x"})
    change = next(c for c in bench.plan([desired, source]).effective() if c.id == desired.id)
    with pytest.raises(TerminalError, match="not known"):
        bench.drivers["mem"].apply(change)


def test_a_world_in_a_file_outlives_the_process(tmp_path: Path) -> None:
    """A process that is killed in the middle of a write leaves the write, or not, for the next one to see."""
    path = tmp_path / "world.json"
    program = (
        "import sys; from pathlib import Path; from reconciler.targets.memory import Fault, World\n"
        "world = World(Path(sys.argv[1])); world.fault(Fault('write', 'kill', sys.argv[2]))\n"
        "world.write('plain/x', {}, None, create=True)\n"
    )
    for when, names in (("before", []), ("after", ["plain/x"])):
        died = subprocess.run([sys.executable, "-c", program, str(path), when], check=False, timeout=60)
        assert died.returncode == -9
        assert World(path).names() == names
    assert World(path).writes == [("write", "plain/x")] * 2
    made = driver_of(Target("mem", "memory", {"path": str(path)}), INSTALLATION)
    assert (made.target, made.world.names()) == ("mem", ["plain/x"])


def test_slow_work_can_go_by_a_clock() -> None:
    """With a clock, slow work ends by time and not by looking."""
    now = [0.0]
    world = World(clock=lambda: now[0])
    world.slow("write", 10.0, fails="no memory left")
    driver = MemoryDriver("mem", world, INSTALLATION)
    bench = Bench(driver)
    desired = MemoryFixture().desired()
    (change,) = bench.plan([desired]).effective()
    assert isinstance(driver.apply(change), InProgress)
    assert isinstance(driver.apply(change), InProgress)
    seen = bench.look(desired.id)
    assert seen is not None
    assert (seen.busy, seen.health) == (True, Health.PROGRESSING)
    now[0] = 10.0
    seen = bench.look(desired.id)
    assert seen is not None
    assert (seen.busy, seen.health, seen.reason) == (False, Health.DEGRADED, "no memory left")


def test_a_slow_replacement_waits_for_the_deletion() -> None:
    """Replacing in place deletes first and says busy until that is over."""
    fixture = MemoryFixture()
    bench = fixture.bench()
    bench.settle([fixture.immutable("z", "a")])
    fixture.world.slow("delete", 2)
    bench.settle([fixture.immutable("z", "b")])
    native = fixture.world.native("plain/z")
    assert native is not None
    assert native["zone"] == "b"


def test_a_staged_version_that_is_not_ready_is_not_promoted() -> None:
    """Promoting too early says busy; a version that failed is staged anew."""
    fixture = MemoryFixture()
    bench, desired = fixture.bench(), fixture.staged("s")
    (change,) = bench.plan([desired]).effective()
    bench.call(change.__class__(**{**_fields(change), "step": Step.STAGE}))
    fixture.world.condition_staged("service/s", "failed", "exit 1")
    seen = bench.look(desired.id)
    assert seen is not None
    assert seen.staged is not None
    assert (seen.staged.health, seen.staged.reason) == (Health.DEGRADED, "exit 1")
    bench.patience = 3
    with pytest.raises(AssertionError, match="busy"):
        bench.call(change.__class__(**{**_fields(change), "step": Step.PROMOTE}))
    bench.patience = 50
    bench.settle([desired])
    assert fixture.world.names() == ["service/s"]
    with pytest.raises(TargetError):
        bench.call(change.__class__(**{**_fields(change), "step": Step.PROMOTE, "mark": _other_mark(change.mark)}))


def _fields(change: Any) -> dict[str, Any]:
    return {name: getattr(change, name) for name in change.__slots__}


def _other_mark(mark: Any) -> Any:
    return type(mark)(mark.installation, mark.service, mark.revision, "another", mark.self_ref)


def test_it_answers_logs_and_events() -> None:
    """It has every optional ability: an address, a log that can be followed, and a watch."""
    fixture = MemoryFixture()
    driver, world = fixture.make_driver(), fixture.world
    assert isinstance(driver, Endpoint)
    assert isinstance(driver, Logs)
    assert isinstance(driver, Events)
    id_ = fixture.desired().id
    assert driver.address(id_) is None
    fixture.bench().settle([fixture.desired()])
    world.serve("plain/one", "http://127.0.0.1:1")
    world.serve("plain/one", "http://127.0.0.1:2", staged=True)
    assert [driver.address(id_, staged=staged).url[-1] for staged in (False, True)] == ["1", "2"]  # type: ignore[union-attr]
    assert fixture.bench().look(id_).outputs == {"url": "http://127.0.0.1:1"}  # type: ignore[union-attr]
    stop = Event()
    assert list(driver.logs(id_, lines=10, follow=False, stop=stop)) == ["plain/one: started"]
    assert list(driver.logs(ResourceId("mem", "plain", "none"), lines=1, follow=False, stop=stop)) == []
    following = driver.logs(id_, lines=1, follow=True, stop=stop)
    assert next(following) == "plain/one: started"
    fixture.bench().settle([fixture.desired(variant="changed")])
    assert next(following) == "plain/one: started"
    watching = driver.watch(stop)
    world.happen("before anybody watched")
    told: list[str] = []
    world.condition("plain/one", "failed", "exit 9", "killed by signal 9")
    stop.set()
    told += list(watching)
    assert list(following) == []
    assert fixture.bench().look(id_).events == ("killed by signal 9",)  # type: ignore[union-attr]
    stop.clear()
    live = driver.watch(stop)
    world_thread = _later(lambda: world.remove("plain/one"))
    assert next(live) == "plain/one: deleted by hand"
    world_thread.join()


def _later(action: Any) -> Any:
    from threading import Timer

    timer = Timer(0.05, action)
    timer.start()
    return timer


@pytest.mark.parametrize("error", ["401", "500", "timeout"])
def test_a_first_page_that_fails_raises(error: str) -> None:
    """Only a listing that had begun can be partial."""
    fixture = MemoryFixture()
    fixture.world.fault(Fault("list", error, page=1))
    with pytest.raises(TargetError):
        fixture.make_driver().observe([])
    assert fixture.make_driver().observe([]).complete
