"""What goes wrong has a reason that names it, and the version before serves on."""

import dataclasses
import os
import socket

import pytest

from reconciler.core.change import Step
from reconciler.core.errors import InvalidError, TerminalError, UnavailableError
from reconciler.core.resources import Health
from reconciler.targets.local.process.commands import Supervisor
from reconciler.targets.local.process.look import look
from reconciler.targets.local.process.refusals import Refusal

from .harness import free_port, score, until, with_changed

FAILING_INIT = """
def init():
    print("looking for the model")
    raise FileNotFoundError("model.pkl")

def run(data): pass
"""
DIES_WITH_FILE = """
import os

def init():
    if os.path.exists("{flag}"):
        print("the file is there")
        os._exit(7)

def run(data):
    return "alive"
"""


def test_port_in_use_names_who_has_it(bench):
    """A port that another program listens on fails the stage, naming that program; nothing is left running."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        error = bench.refusal(bench.deployment(port=port))
    assert isinstance(error, TerminalError)
    assert f"port {port} of 127.0.0.1 is in use by pid {os.getpid()} (" in str(error)
    seen = bench.observe()
    assert seen.health is Health.MISSING
    assert seen.staged.health is Health.DEGRADED
    assert f"port {port}" in seen.staged.reason
    assert list((bench.folder() / "versions").iterdir()) == []
    bench.apply(bench.change(bench.deployment(), Step.DISCARD))
    until(lambda: bench.observe() is None)


def test_two_services_on_one_port_conflict_at_stage(bench):
    """The port is taken by staging alone, before anything listens."""
    port = free_port()
    bench.stage(bench.deployment(port=port))
    error = bench.refusal(bench.deployment(name="other", port=port))
    assert isinstance(error, TerminalError)
    assert f"port {port}" in str(error)


def test_port_is_free_again_at_once_after_a_kill(bench):
    """Connections in TIME_WAIT of a killed service do not keep its port from its successor."""
    port = free_port()
    seen = bench.deploy(bench.deployment(port=port))
    with socket.create_connection(("127.0.0.1", port)) as open_connection:
        open_connection.send(b"POST /score HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
        assert open_connection.recv(100)
        os.kill(seen.outputs["pid"], 9)
        until(lambda: not bench.processes())
        again = bench.deploy(bench.deployment(port=port))
    assert score(again) == (200, "one")


def test_failing_init_gives_the_reason_and_the_log(bench):
    """A version whose init() raises is Degraded with that error and the last lines; the serving one stays."""
    bench.deploy(bench.deployment("one"))
    seen = bench.stage(bench.deployment(script=FAILING_INIT))
    assert seen.staged.health is Health.DEGRADED
    assert "init() failed: FileNotFoundError: model.pkl" in seen.staged.reason
    assert "looking for the model" in seen.staged.reason
    assert seen.health is Health.HEALTHY
    assert score(seen) == (200, "one")
    assert any("model.pkl" in event for event in seen.events)


def test_worker_that_exits_before_it_is_ready(bench):
    """An exit without a word gives its code."""
    seen = bench.stage(bench.deployment(script="import os\nos._exit(9)"))
    assert "exited with code 9" in seen.staged.reason


def test_missing_interpreter(bench):
    """An environment without interpreter is told as such."""
    bench.python = bench.root / "venv" / "bin" / "python"
    seen = bench.stage(bench.deployment())
    assert f"{bench.python} cannot be started" in seen.staged.reason


def test_readiness_time_out(bench):
    """A version that is not ready in time is ended and Degraded with its last lines."""
    slow = "import time\ndef init():\n    print('loading')\n    time.sleep(60)\ndef run(data): pass\n"
    seen = bench.stage(bench.deployment(script=slow, ready_timeout_seconds=1.0))
    assert "not ready within 1 s" in seen.staged.reason
    assert "loading" in seen.staged.reason
    until(lambda: len(bench.processes()) == 1)


def test_failed_stage_can_be_tried_again(bench):
    """Staging the same version after its failure starts it anew."""
    flag = bench.models / "flag"
    flag.touch()
    deployment = bench.deployment(script=DIES_WITH_FILE.replace("{flag}", str(flag)))
    assert bench.stage(deployment).staged.health is Health.DEGRADED
    flag.unlink()
    bench.apply(bench.change(deployment, Step.STAGE))
    until(lambda: bench.observe().staged.health is Health.HEALTHY)


def test_missing_entry_script(bench):
    """A script that the source directory does not have is refused before anything starts."""
    error = bench.refusal(bench.deployment(files={"main.py": ""}))
    assert isinstance(error, TerminalError)
    assert "score.py is not in the source directory" in str(error)


def test_missing_source_object(bench):
    """A source that the repo does not have passes on what the repo says."""
    deployment = bench.deployment()
    bench.repo.trees.clear()
    error = bench.refusal(deployment)
    assert isinstance(error, InvalidError)
    assert "not in the repo" in str(error)


def test_source_that_leads_out_of_its_folder(bench):
    """A path that climbs out of the source directory writes nothing outside of it."""
    error = bench.refusal(bench.deployment(files={"score.py": "", "../../escaped": "x"}))
    assert "leads out" in str(error)
    assert not list(bench.root.rglob("escaped"))


def test_killed_worker_is_started_again(bench):
    """A worker killed by hand is replaced at once, and the event says so."""
    seen = bench.deploy(bench.deployment())
    (worker,) = seen.outputs["workers"]
    os.kill(worker, 9)
    after = until(
        lambda: (
            (now := bench.observe()).health is Health.HEALTHY and now.outputs["workers"] not in ([], [worker]) and now
        )
    )
    assert any("killed by signal 9 (SIGKILL)" in event and "started again" in event for event in after.events)
    assert score(after) == (200, "one")
    assert after.version == seen.version


def test_crash_loop_is_degraded_with_the_last_lines(bench):
    """A worker that keeps ending is restarted more and more slowly, and the service says why it is Degraded."""
    flag = bench.models / "flag"
    seen = bench.deploy(bench.deployment(script=DIES_WITH_FILE.replace("{flag}", str(flag))))
    flag.touch()
    os.kill(seen.outputs["workers"][0], 9)
    after = until(lambda: (now := bench.observe()).health is Health.DEGRADED and now)
    assert "crash loop" in after.reason
    assert "exited with code 7" in after.reason
    assert "the file is there" in after.reason
    flag.unlink()
    until(lambda: len(bench.observe().outputs["workers"]) == 1 and score(bench.observe()) == (200, "alive"))


def test_processes_that_a_worker_started_end_with_it(bench):
    """A worker's own children do not outlive it."""
    script = (
        "import subprocess\n\ndef init():\n    global child\n    child = subprocess.Popen(['sleep', '600'])\n\n"
        "def run(data):\n    return child.pid\n"
    )
    seen = bench.deploy(bench.deployment(script=script))
    child = int(score(seen)[1])
    os.kill(seen.outputs["workers"][0], 9)
    until(lambda: not os.path.exists(f"/proc/{child}"))


def test_limits_hold(bench):
    """Open files, memory and processors of a worker are those of the deployment."""
    script = (
        "import os, resource\n\ndef init(): pass\n\ndef run(data):\n"
        "    return [resource.getrlimit(resource.RLIMIT_NOFILE)[0], resource.getrlimit(resource.RLIMIT_DATA)[0],"
        " len(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS']]\n"
    )
    seen = bench.deploy(bench.deployment(script=script, cpu_cores=0.5, memory_gb=0.5, block={"openFiles": 99}))
    assert score(seen)[1] == repr([99, 500_000_000, 1, "1"])


def test_too_little_memory_is_named(bench):
    """A version that does not fit into its memory limit says so."""
    script = "def init():\n    global data\n    data = bytearray(400_000_000)\n\ndef run(data): pass\n"
    seen = bench.stage(bench.deployment(script=script, memory_gb=0.3))
    assert "its memory is limited to 0.3 GB" in seen.staged.reason


def test_image_cannot_be_a_process(bench):
    """A ready-made image is refused when rendering, with a way out."""
    deployment = bench.deployment()
    deployment = with_changed(deployment, image=dataclasses.replace(deployment.image, image="registry/x:1"))
    with pytest.raises(InvalidError, match="cannot be run as a process") as caught:
        bench.driver.render(deployment)
    assert caught.value.problems[0].code == "image-needs-containers"


def test_state_directory_that_cannot_be_made(bench):
    """A file where the state directory should be is said so; nothing is half-made."""
    bench.root.write_text("in the way")
    with pytest.raises(UnavailableError, match="diabetes cannot be read: Not a directory"):
        bench.apply(bench.change(bench.deployment(), Step.STAGE))
    with pytest.raises(UnavailableError, match="cannot be read"):
        bench.observe()
    bench.root.unlink()


def test_promotion_that_cannot_be_recorded_does_not_happen(bench):
    """With a disk that takes no state file, the version before serves on and the reason is told."""
    bench.deploy(bench.deployment("one"))
    bench.stage(bench.deployment("two"))
    change = bench.change(bench.deployment("two"), Step.PROMOTE)
    supervisor = Supervisor(bench.folder(), look(bench.folder()).uid)
    state = bench.folder() / "service.json"
    state.unlink()
    state.mkdir()
    supervisor.do("promote", specDigest=change.mark.spec_digest, mark=change.mark.to_json())
    staged = until(lambda: (now := supervisor.do("status")["staged"]) and now["health"] == "Degraded" and now)
    assert "state file cannot be written" in staged["reason"]
    assert bench.driver.observe([bench.id()]).complete is False
    state.rmdir()
    bench.apply(bench.change(bench.deployment("two"), Step.DISCARD))
    assert score(bench.observe()) == (200, "one")


def test_supervisor_of_another_service_refuses(bench):
    """A command meant for another service is not carried out."""
    bench.deploy(bench.deployment())
    supervisor = Supervisor(bench.folder(), look(bench.folder()).uid)
    supervisor._uid = "0" * 32
    with pytest.raises(Refusal, match="keeps another service"):
        supervisor.do("stop", drainSeconds=0, remove=True, why="mistaken")
    assert bench.observe().health is Health.HEALTHY
