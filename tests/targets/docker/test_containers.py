"""Containers of a real engine, and what hands, limits and faults do to them."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.change import Action
from reconciler.core.errors import RefusedError, TargetError
from reconciler.core.resources import Health, Observed
from reconciler.core.secrets import seal
from tests.containers.engine import checked, docker
from tests.contract.harness import Bench
from tests.contract.manifests import redeployed
from tests.contract.test_docker import DockerFixture

pytestmark = pytest.mark.long


@pytest.fixture
def target(tmp_path: Path) -> Iterator[DockerFixture]:
    """A target of its own on the engine."""
    fixture = DockerFixture(tmp_path)
    yield fixture
    fixture.close()


def seen(bench: Bench, target: DockerFixture, name: str = "one") -> Observed:
    """The service as it is now."""
    found = bench.look(target.desired(name).id)
    assert found is not None
    return found


def until(target: DockerFixture, condition: Callable[[], bool], what: str) -> None:
    """Waits for another process."""
    for _ in range(600):
        if condition():
            return
        target.pause()
    raise AssertionError(f"waited in vain for {what}")


def get(url: str, path: str = "/score") -> bytes:
    """What a service answers."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", path, body=b"[]")
        return connection.getresponse().read()
    finally:
        connection.close()


def answered(url: str) -> bytes:
    """What a service answers; nothing while the engine is still publishing its port."""
    try:
        return get(url)
    except OSError:
        return b""


def test_a_new_version_keeps_the_port_and_the_old_one_goes(target: DockerFixture) -> None:
    """The address stays what it was although nobody chose it; nothing of the old version is left."""
    bench = target.bench()
    bench.settle([target._desired("one", environment_variables={"TOKEN": "first"})])
    before = str(seen(bench, target).outputs["url"])
    assert get(before) == b"first"
    bench.settle([target._desired("one", environment_variables={"TOKEN": "second"})])
    assert str(seen(bench, target).outputs["url"]) == before
    until(target, lambda: answered(before) == b"second", "the new version")
    assert (
        docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{target.target}") == f"{target.target}.one"
    )


def test_a_version_that_ends_is_never_promoted(target: DockerFixture) -> None:
    """Its last words are the reason, and the old version never stopped."""
    bench = target.bench()
    bench.settle([target._desired("one", environment_variables={"TOKEN": "good"})])
    url = str(seen(bench, target).outputs["url"])
    with pytest.raises((AssertionError, TargetError), match="init\\(\\) raised ValueError: broken"):
        bench.settle([target._desired("one", environment_variables={"FAIL": "broken"})])
    assert get(url) == b"good"
    assert seen(bench, target).health is Health.HEALTHY


def test_limits_change_where_the_container_stands(target: DockerFixture) -> None:
    """Cores and memory are changed without another container; so is a change by hand taken back."""
    bench = target.bench()
    bench.settle([target._desired("one", memory_gb=0.3)])
    container = seen(bench, target).outputs["container"]
    bench.settle([target._desired("one", memory_gb=0.4, cpu_cores=0.5)])
    before = time.time() - 1
    docker("update", "--cpus", "1.5", f"{target.target}.one")
    made = bench.plan([target._desired("one", memory_gb=0.4, cpu_cores=0.5)])
    assert [(f.pointer, f.before, f.after) for f in next(made.effective()).fields] == [("/limits/cpuCores", 1.5, 0.5)]
    assert [d.fields[0].pointer for d in made.drift] == ["/limits/cpuCores"]
    by = seen(bench, target).owner_of("/limits/cpuCores")
    assert by is not None
    assert by.manager == "docker update"
    assert by.at is not None
    assert before <= by.at <= time.time() + 1
    bench.settle([target._desired("one", memory_gb=0.4, cpu_cores=0.5)])
    assert not seen(bench, target).owners
    bench.settle([target._desired("one")])
    assert seen(bench, target).outputs["container"] == container
    assert seen(bench, target).spec["limits"] == {}


def test_a_container_out_of_memory_says_so(target: DockerFixture) -> None:
    """The limit stands in the reason."""
    bench = target.bench()
    bench.settle([target._desired("one", memory_gb=0.1, block={"restart": "no"})])
    url = str(seen(bench, target).outputs["url"])
    with pytest.raises((OSError, http.client.HTTPException)):
        get(url, "/eat")
    until(target, lambda: seen(bench, target).health is Health.DEGRADED, "the end")
    assert "more memory than its limit of 0.1 GB" in seen(bench, target).reason


def test_a_port_in_use_leaves_the_old_version_serving(target: DockerFixture) -> None:
    """Somebody else has the port that a new version wants: said, and nothing is lost."""
    bench = target.bench()
    bench.settle([target._desired("one", environment_variables={"TOKEN": "old"})])
    url = str(seen(bench, target).outputs["url"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=r"port|address already in use"):
            bench.settle([target._desired("one", port=port)])
    until(target, lambda: answered(url) == b"old", "the old version")
    bench.settle([target._desired("one", port=port)])
    until(target, lambda: answered(f"http://127.0.0.1:{port}") == b"standin", "the new version")


@pytest.mark.parametrize("hand", ["stop", "pause", "disconnect"])
def test_what_a_hand_stopped_is_told(target: DockerFixture, hand: str) -> None:
    """Stopped, paused, or taken off its network: the health says which."""
    bench = target.bench()
    bench.settle([target.desired()])
    name = f"{target.target}.one"
    if hand == "disconnect":
        docker("network", "disconnect", "bridge", name)
    else:
        docker(hand, name)
    found = seen(bench, target)
    words = {"stop": "ended with exit code", "pause": "paused by hand", "disconnect": "taken off its networks"}
    assert found.health is not Health.HEALTHY
    assert words[hand] in found.reason


def test_keys_are_changed_without_a_new_container(target: DockerFixture) -> None:
    """The key file in the container is another one, the container the same; no key stands in it."""
    bench = target.bench()

    def with_keys(rotation: int) -> Any:
        desired = target.desired()
        keys = {"primary": seal(b"key", f"very-secret-{rotation}"), "secondary": seal(b"key", "other-secret")}
        return replace(desired, spec={**desired.spec, "auth": {"enabled": True, "keys": keys}})

    bench.settle([with_keys(1)])
    first = docker("exec", f"{target.target}.one", "cat", "/run/reconciler/keys.json")
    container = seen(bench, target).outputs["container"]
    bench.settle([with_keys(2)])
    second = docker("exec", f"{target.target}.one", "cat", "/run/reconciler/keys.json")
    assert first != second
    assert "very-secret" not in first + second
    assert seen(bench, target).outputs["container"] == container
    assert bench.plan([with_keys(2)]).empty


def test_events_tell_of_a_killed_container_within_a_second(target: DockerFixture) -> None:
    """The engine's events wake us; a hand that kills is noticed at once."""
    bench = target.bench()
    bench.settle([target.desired()])
    stop, told = threading.Event(), threading.Event()

    def listen() -> None:
        for event in target.drivers[0].watch(stop):
            if "die" in event:
                told.set()
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    # Events from before the watch was there are not told: kill until one is.
    for _ in range(20):
        docker("kill", f"{target.target}.one")
        if told.wait(1):
            break
        docker("start", f"{target.target}.one")
    stop.set()
    listener.join(5)
    assert told.is_set()


class KilledError(Exception):
    """Stands for the end of the process: nothing of ours may catch it and go on."""


def dying(driver: Any, call: str, when: str) -> threading.Event:
    """Makes a driver end, as it were, before or after a call; the event says that it did."""
    died = threading.Event()
    api = driver._engine.api
    real = getattr(api, call)

    def dies(*args: Any, **kwargs: Any) -> Any:
        if when == "after":
            real(*args, **kwargs)
        died.set()
        raise KilledError

    setattr(api, call, dies)
    return died


MAKING = ("create_container_from_config", "start", "rename")
SWAPPING = ("disconnect_container_from_network", "connect_container_to_network", "remove_container")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("before", "call"), [*(("old", call) for call in (*MAKING, *SWAPPING)), *(("", call) for call in MAKING)]
)
def test_a_kill_between_any_two_calls_converges(target: DockerFixture, before: str, call: str, when: str) -> None:
    """Whichever call of a roll-out is the last one, another driver finishes the work: one container, the new one."""
    bench = target.bench()
    if before:
        bench.settle([target._desired("one", environment_variables={"TOKEN": before})])
    wanted = target._desired("one", environment_variables={"TOKEN": "new"})
    died = dying(bench.drivers[target.target], call, when)
    # A call that takes longer than it is waited for dies without anybody to tell it to.
    with suppress(KilledError):
        bench.reconcile([wanted])
    assert died.is_set()
    again = Bench(target.make_driver(), pause=target.pause, patience=target.patience)
    again.baselines = bench.baselines
    again.settle([wanted])
    url = str(seen(again, target).outputs["url"])
    until(target, lambda: answered(url) == b"new", f"the end of {call}, {when}")
    names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{target.target}")
    assert names == f"{target.target}.one"


@pytest.mark.parametrize("fixed", [True, False])
def test_a_move_takes_the_port_along(target: DockerFixture, fixed: bool) -> None:
    """Under its new name the service answers where it did, whether the port was asked for or chosen."""
    bench = target.bench()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1] if fixed else None
    bench.settle([target._desired("one", port=port, environment_variables={"TOKEN": "old"})])
    url = str(seen(bench, target).outputs["url"])
    bench.settle([target._desired("two", port=port, environment_variables={"TOKEN": "new"})], moves={"two": "one"})
    assert str(seen(bench, target, "two").outputs["url"]) == url
    until(target, lambda: answered(url) == b"new", "the new name")
    names = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{target.target}")
    assert names == f"{target.target}.two"


def test_a_move_that_fails_gives_the_port_back(target: DockerFixture) -> None:
    """The new one cannot go where it should, after the old one let go: the old one serves again."""
    bench = target.bench()
    bench.settle([target._desired("one", environment_variables={"TOKEN": "old"})])
    url = str(seen(bench, target).outputs["url"])
    nowhere = target._desired("two", block={"networks": [f"{target.target}-nowhere"]})
    with pytest.raises((AssertionError, TargetError), match="nowhere"):
        bench.settle([nowhere], moves={"two": "one"})
    until(target, lambda: answered(url) == b"old", "the old name")
    assert seen(bench, target).health is Health.HEALTHY


def test_a_container_of_others_is_adopted_where_it_stands(target: DockerFixture) -> None:
    """Any name, any options: described, bound and adopted it is the same container, renamed and not restarted."""
    made = docker(
        "run", "--detach", "--name", f"{target.target}-Their_Model", "--publish", "127.0.0.1::5001",
        "--env", "LEVEL=info", "--env", "API_TOKEN=c4n4ry", "--memory", "200m",
        "--volume", f"{target.target}.data:/data",
        "--log-opt", "max-size=3m", "--add-host", "a:10.0.0.1", target.image,
    )  # fmt: skip
    bench = target.bench()
    driver = target.drivers[-1]
    name = f"{target.target}-Their_Model"
    assert name in driver.describable()
    found = driver.describe(name, "one")
    assert found is not None
    assert [each.what.partition(":")[0] for each in found.unsaid] == ["HostConfig.ExtraHosts", "its name"]
    assert "c4n4ry" not in repr(found)
    assert driver.describe(made[:12], "one") is not None
    assert driver.describe(made[:3], "one") is None
    target.volumes = (f"{target.target}.data",)
    bench = target.bench()
    wanted = redeployed(found, target.drivers[-1])
    wanted = replace(wanted, policy=replace(wanted.policy, adopt=True))
    assert [c.action for c in bench.plan([wanted]).effective()] == [Action.CREATE]
    driver.bind(name, "one")
    (change,) = bench.plan([wanted]).effective()
    assert (change.action, [f.pointer for f in change.fields]) == (Action.ADOPT, ["/mark/installation"])
    bench.settle([wanted])
    running = "{{.Id}} {{.State.StartedAt}}"
    before = docker("inspect", "--format", running, made)
    assert docker("inspect", "--format", running, f"{target.target}.one") == before
    again = Bench(target.make_driver(), pause=target.pause, patience=target.patience)
    again.baselines = bench.baselines
    assert again.plan([wanted]).empty
    with pytest.raises(RefusedError, match=f"is {target.target}/container/one already"):
        again.drivers[target.target].describe(f"{target.target}.one", "two")
    docker("update", "--restart", "on-failure:3", f"{target.target}.one")
    assert [drift.fields[0].pointer for drift in again.plan([wanted]).drift] == ["/restart"]
    bench.settle([])
    assert docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"id={made}") == ""


def test_foreign_containers_are_nobody_s_business(target: DockerFixture) -> None:
    """What else runs on the engine is neither seen nor touched, also when everything of ours goes."""
    bench = target.bench()
    stranger = docker("run", "--detach", "--name", f"{target.target}.stranger", target.image)
    bench.settle([target.desired()])
    bench.settle([])
    assert docker("inspect", "--format", "{{.State.Status}}", stranger) == "running"
    assert [c.action for c in bench.plan([]).effective()] == []
    assert Action.DELETE not in [c.action for c in bench.plan([]).changes]


def test_what_ends_by_itself_says_how(target: DockerFixture) -> None:
    """An exit code without a restart, and a loop of restarts; the last lines of the log are part of the reason."""
    bench = target.bench()
    bench.settle([target._desired("one", block={"restart": "no"})])
    with pytest.raises((OSError, http.client.HTTPException)):
        get(str(seen(bench, target).outputs["url"]), "/die")
    until(target, lambda: seen(bench, target).health is Health.DEGRADED, "the end")
    assert seen(bench, target).reason.splitlines()[0] == "ended with exit code 3"
    assert bench.plan([target._desired("one", block={"restart": "no"})]).empty

    bench.settle([target._desired("two", block={"readOnly": False})])
    with pytest.raises((OSError, http.client.HTTPException)):
        get(str(seen(bench, target, "two").outputs["url"]), "/loop")
    told: list[str] = []

    def loops() -> bool:
        found = seen(bench, target, "two")
        told.extend([found.reason] if found.health is Health.DEGRADED else [])
        return "it loops" in "".join(told)

    until(target, loops, "the loop")
    assert "ended with exit code 3, restarted" in told[-1]


def test_an_unhealthy_container_says_what_its_check_said(target: DockerFixture) -> None:
    """The engine's own health check fails: Degraded, with what it printed; and well again after a restart."""
    target.image = checked()
    bench = target.bench()
    bench.settle([target.desired()])
    until(target, lambda: seen(bench, target).health is Health.HEALTHY, "the first check")
    with pytest.raises((OSError, http.client.HTTPException)):
        get(str(seen(bench, target).outputs["url"]), "/die")
    how = ("inspect", "--format", "{{.RestartCount}} {{.State.Health.Status}}", f"{target.target}.one")
    until(target, lambda: docker(*how) == "1 healthy", "the restart")
    get(str(seen(bench, target).outputs["url"]), "/sicken")
    until(target, lambda: seen(bench, target).health is Health.DEGRADED, "a check that fails")
    assert "its health check fails" in seen(bench, target).reason
    assert "500" in seen(bench, target).reason


def test_an_image_that_nobody_has_is_named(target: DockerFixture) -> None:
    """Neither the engine nor the registry has it: said before anything is made."""
    bench = target.bench()
    with pytest.raises((AssertionError, TargetError), match=r"there is no image .*nowhere:1"):
        bench.settle([target.invalid("one")])
    assert docker("ps", "--all", "--quiet", "--filter", f"name=^{target.target}") == ""
