"""kill -9 of the daemon's side and of the supervisor, at each point: it converges, nothing twice, nothing orphaned."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.core.change import Action, Change, Step
from reconciler.core.driver import Done
from reconciler.core.errors import ConflictError
from reconciler.core.resources import Health
from reconciler.targets.local.process.commands import Supervisor, control_socket
from reconciler.targets.local.process.layout import BELONGS_TO, lock_holder
from reconciler.targets.local.process.look import look

from .harness import score, until


def test_a_new_daemon_finds_what_runs(bench):
    """A driver that knows nothing sees the same service, and goes on with it."""
    before = bench.deploy(bench.deployment("one"))
    bench.restarted()
    assert bench.observe() == before
    after = bench.deploy(bench.deployment("two"))
    assert after.outputs["pid"] == before.outputs["pid"]


def test_killed_supervisor_is_missing_with_the_reason(bench):
    """Its workers end with it, and what is observed says that it was killed and what happened last."""
    seen = bench.deploy(bench.deployment())
    os.kill(seen.outputs["pid"], 9)
    until(lambda: not bench.processes())
    gone = bench.observe()
    assert gone.health is Health.MISSING
    assert gone.spec == {}
    assert "killed" in gone.reason
    assert gone.owned_by("installation-1")
    assert any("promoted" in event for event in gone.events)


def test_killed_supervisor_comes_back_with_its_port(bench):
    """The next deployment of the same version serves on the same port, once."""
    before = bench.deploy(bench.deployment())
    os.kill(before.outputs["pid"], 9)
    until(lambda: bench.observe().health is Health.MISSING)
    after = bench.deploy(bench.deployment(), action=Action.CREATE, observed=bench.observe())
    assert after.outputs["port"] == before.outputs["port"]
    assert score(after) == (200, "one")
    assert len(bench.processes()) == 2


def test_a_supervisor_that_ends_while_it_is_asked_is_followed_by_another(bench):
    """The one that took the connection is gone before it answers: whoever asked starts the next one."""
    bench.deploy(bench.deployment())
    before = bench.state()["pid"]
    uid = look(bench.folder()).uid
    path = control_socket(bench.folder(), uid)
    os.kill(before, signal.SIGSTOP)
    connected = _sockets(path)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(Supervisor.ensure(bench.folder(), uid).do("status")))
    thread.start()
    until(lambda: _sockets(path) > connected)
    os.kill(before, 9)
    thread.join()
    assert [answer["pid"] for answer in answers] == [lock_holder(str(bench.folder()))]
    assert answers[0]["pid"] != before


def _sockets(path):
    """How many there are at a path: the one that listens, and one for each connection."""
    return sum(line.endswith(path) for line in Path("/proc/net/unix").read_text().splitlines())


def test_terminated_supervisor_says_so(bench):
    """SIGTERM drains and ends it; the reason is kept."""
    seen = bench.deploy(bench.deployment())
    os.kill(seen.outputs["pid"], signal.SIGTERM)
    until(lambda: bench.observe().health is Health.MISSING)
    assert "told to end by SIGTERM" in bench.observe().reason
    until(lambda: not bench.processes())


def test_dead_service_is_deleted(bench):
    """What a killed supervisor left is removed by a delete."""
    seen = bench.deploy(bench.deployment())
    os.kill(seen.outputs["pid"], 9)
    until(lambda: not bench.processes())
    bench.delete()
    until(lambda: list(bench.root.iterdir()) == [])


def test_supervisor_killed_between_stage_and_promote(bench):
    """The promote conflicts, so that the engine looks again; staging anew converges."""
    bench.stage(bench.deployment())
    os.kill(bench.state()["pid"], 9)
    until(lambda: not bench.processes())
    with pytest.raises(ConflictError, match="gone"):
        bench.apply(bench.change(bench.deployment(), Step.PROMOTE))
    assert score(bench.deploy(bench.deployment())) == (200, "one")
    assert len(bench.processes()) == 2


@pytest.mark.parametrize("killed", ["before", "after"])
def test_supervisor_killed_while_it_promotes(bench, killed):
    """Whichever side of the record it died on, what is seen is true and the next roll-out converges."""
    bench.deploy(bench.deployment("one"))
    bench.stage(bench.deployment("two"))
    pid = bench.state()["pid"]
    change = bench.change(bench.deployment("two"), Step.PROMOTE)
    kills = {"before": lambda: os.kill(pid, signal.SIGSTOP), "after": lambda: None}
    kills[killed]()
    thread = threading.Thread(target=lambda: _try(bench, change))
    thread.start()
    waits = {"before": lambda: True, "after": lambda: bench.state()["record"]["mark"] == change.mark.to_json()}
    until(waits[killed])
    os.kill(pid, 9)
    thread.join()
    until(lambda: not bench.processes())
    assert bench.observe().health is Health.MISSING
    assert score(bench.deploy(bench.deployment("two"))) == (200, "two")
    assert len(bench.processes()) == 2


def _try(bench, change):
    try:
        bench.driver.apply(change)
    except Exception as error:
        return error


def test_daemon_lost_after_each_call(bench):
    """With a new driver before every call, a service comes, changes and goes as with one."""
    for version in ("one", "two"):
        bench.restarted()
        bench.stage(bench.deployment(version))
        bench.restarted()
        bench.stage(bench.deployment(version))
        bench.restarted()
        bench.promote(bench.deployment(version))
        bench.restarted()
        bench.promote(bench.deployment(version))
    assert score(bench.observe()) == (200, "two")
    until(lambda: len(bench.processes()) == 2)
    bench.restarted()
    bench.delete()


DAEMON = """
import sys, os, signal
from pathlib import Path
sys.path.insert(0, {tests!r})
from local.harness import Bench
from reconciler.core.change import Step
bench = Bench.__new__(Bench)
Bench.__init__(bench, Path({root!r}), Path({runtime!r}))
deployment = bench.deployment({version!r})
calls = [lambda: bench.apply(bench.change(deployment, Step.STAGE)), lambda: bench.stage(deployment),
         lambda: bench.apply(bench.change(deployment, Step.PROMOTE))]
import threading
threading.Timer({after}, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
for call in calls:
    call()
threading.Event().wait()
"""


LONG = [
    pytest.param(after, marks=pytest.mark.long) for after in (0.0, 0.02, 0.03, 0.05, 0.07, 0.15, 0.2, 0.3, 0.4, 0.6)
]


@pytest.mark.parametrize("after", [0.01, 0.1, 0.5, *LONG])
def test_daemon_killed_at_any_moment(bench, after):
    """A daemon process killed at some moment of a roll-out leaves what the next one brings to its end."""
    bench.deploy(bench.deployment("one"))
    bench.models.rmdir()
    tests = os.path.dirname(os.path.dirname(__file__))
    code = DAEMON.format(
        tests=tests, root=str(bench.root.parent), runtime=str(bench.runtime), version="two", after=after
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    bench.restarted()
    assert score(bench.observe())[0] == 200
    assert score(bench.deploy(bench.deployment("two"))) == (200, "two")
    until(lambda: len(bench.processes()) == 2)
    until(lambda: len(list((bench.folder() / "versions").iterdir())) == 1)
    bench.delete()
    until(lambda: list(bench.root.iterdir()) == [])


def test_folder_half_made_is_no_service(bench):
    """A folder that was being made when the daemon died is nothing, and goes with the next deployment."""
    half = bench.root / ".diabetes.0123abcd.new"
    half.mkdir(parents=True)
    (half / "identity.json").write_text("{}")
    assert bench.driver.observe([]).resources == {}
    bench.deploy(bench.deployment())
    assert not half.exists()


def test_second_supervisor_gives_way(bench):
    """A folder has one supervisor; starting another one changes nothing."""
    before = bench.deploy(bench.deployment())
    from reconciler.targets.local.process import commands

    commands._start(bench.folder())
    assert bench.observe() == before
    assert len(bench.processes()) == 2


def test_leftover_processes_are_swept(bench):
    """A process of a killed supervisor's service that lives on ends when the next supervisor starts."""
    seen = bench.deploy(bench.deployment())
    uid = bench.driver._seen["diabetes"][0].uid
    orphan = subprocess.Popen(["sleep", "600"], env={BELONGS_TO: uid}, start_new_session=True)
    os.kill(seen.outputs["pid"], 9)
    until(lambda: not bench.processes())
    Supervisor.ensure(bench.folder(), uid)
    assert orphan.wait(10) == -signal.SIGKILL
    assert any(f"process {orphan.pid} of an earlier run" in event["text"] for event in bench.state()["events"])


def test_delete_goes_on_in_the_background(bench):
    """A delete whose daemon died goes on, and asking again finds it done."""
    bench.deploy(bench.deployment())
    bench.driver.apply(Change(bench.id(), Action.DELETE))
    bench.restarted()
    until(lambda: bench.observe() is None)
    assert isinstance(bench.apply(Change(bench.id(), Action.DELETE)), Done)
