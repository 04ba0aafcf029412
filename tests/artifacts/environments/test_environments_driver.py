"""The driver of `registry/environments` with real uv and real virtual environments, from wheels made on the spot."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from reconciler.artifacts.environments.build import building
from reconciler.artifacts.environments.driver import EnvironmentsDriver
from reconciler.artifacts.environments.interpreters import Interpreter
from reconciler.artifacts.environments.machine import Machine
from reconciler.artifacts.environments.places import environment_path, environment_python, place_of
from reconciler.artifacts.environments.references import processes_using
from reconciler.core.change import Action, Change
from reconciler.core.deployment import Environment, File
from reconciler.core.driver import Done, Events, InProgress, Logs
from reconciler.core.errors import (
    AccessError,
    BusyError,
    ConflictError,
    ForeignError,
    InvalidError,
    TargetError,
    TerminalError,
    ThrottledError,
    UnavailableError,
)
from reconciler.core.resources import Health, Mark, Observed
from reconciler.core.values import to_json

from .conftest import OWN, Bench, conda, mark_of, wait_for
from .wheels import make_wheel

SEED = Path(__file__).parent / "cases" / "seed.yml"
INDEX = "http://user:hunter22@localhost:9/simple"
TINY = conda("dependencies: [tiny]")


def seen(driver: EnvironmentsDriver, change: Change) -> Observed:
    """What observing shows of a change's resource."""
    observation = driver.observe([change.id])
    assert observation.complete
    return observation.resources[change.id]


def test_round_trip(bench: Bench) -> None:
    """What is built reads back as it was rendered, is ours, healthy, and names interpreter, lock and package count."""
    driver = bench.driver()
    answered = bench.build(driver, TINY)
    desired = driver.render_environment(TINY)
    assert to_json(answered.spec) == to_json(desired.spec)
    assert answered.mark == mark_of(desired)
    assert (answered.health, answered.busy) == (Health.HEALTHY, False)
    assert answered.outputs["python"] == str(environment_python(bench.state, TINY.identity))
    assert answered.outputs["path"] == str(environment_path(bench.state, TINY.identity))
    assert answered.outputs["packages"] == 6
    assert answered.outputs["lock"].startswith("sha256:")
    assert driver.observe([]).resources == {desired.id: answered}
    code = "import tiny, starlette, sys; print(tiny.__version__, sys.prefix)"
    python = environment_python(bench.state, TINY.identity)
    output = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["1.0", str(environment_path(bench.state, TINY.identity))]
    assert isinstance(driver, Logs)
    assert isinstance(driver, Events)


def test_empty(bench: Bench) -> None:
    """An empty state directory is complete and empty, and observing writes nothing."""
    observation = bench.driver().observe([])
    assert (observation.complete, observation.resources) == (True, {})
    assert not bench.state.exists()


def test_apply_is_idempotent(bench: Bench) -> None:
    """Applying again what is there answers at once and builds nothing."""
    driver = bench.driver()
    first = bench.build(driver, TINY)
    log = place_of(bench.state, first.id.name).log
    before = log.stat().st_mtime_ns
    result = bench.driver().apply(bench.change(driver, TINY))
    assert result == Done(first)
    assert log.stat().st_mtime_ns == before


def test_apply_does_not_wait(bench: Bench) -> None:
    """Creating returns while the build goes on; observing tells that it does, and a second apply starts no other."""
    driver = bench.driver()
    change = bench.change(driver, TINY)
    assert isinstance(driver.apply(change), InProgress)
    assert isinstance(driver.apply(change), InProgress)
    wait_for(lambda: not seen(driver, change).busy)
    assert seen(driver, change).health is Health.HEALTHY


def test_the_lock_is_kept(bench: Bench) -> None:
    """A second build of the same environment gets the packages of the first, also when there are newer ones."""
    driver = bench.driver()
    first = bench.build(driver, TINY)
    driver.apply(Change(first.id, Action.DELETE, observed=first))
    assert driver.observe([]).resources == {}
    make_wheel(bench.wheels, "tiny", "2.0")
    again = bench.build(bench.driver(), TINY)
    assert again.outputs["lock"] == first.outputs["lock"]
    other = bench.build(driver, conda("dependencies: [tiny, pip]"))
    assert other.outputs["lock"] != first.outputs["lock"]


def test_the_lock_has_hashes_and_no_addresses(bench: Bench) -> None:
    """Every package of a lock is pinned with its hash, and the lock says nothing of where it came from."""
    built = bench.build(bench.driver(), TINY)
    digest = built.outputs["lock"].removeprefix("sha256:")
    text = (bench.state / "locks" / "sha256" / f"{digest}.txt").read_text()
    assert text.count("==") == text.count("--hash=sha256:") == 6
    assert str(bench.wheels) not in text


def test_what_sends_telemetry_is_in_the_lock(bench: Bench) -> None:
    """With the user's packages in one resolution, although all of its versions are called betas; else it is not."""
    make_wheel(bench.wheels, "azure-monitor-opentelemetry-exporter", "1.0.0b58", requires=("tiny",))
    driver = bench.driver()
    locks: list[str] = []
    for environment in (TINY, replace(TINY, telemetry=True)):
        digest = bench.build(driver, environment).outputs["lock"].removeprefix("sha256:")
        locks.append((bench.state / "locks" / "sha256" / f"{digest}.txt").read_text())
    plain, telling = ([line for line in lock.splitlines() if "==" in line] for lock in locks)
    (more,) = set(telling) - set(plain)
    assert more.startswith("azure-monitor-opentelemetry-exporter==1.0.0b58")


def test_telemetry_that_does_not_fit_is_a_conflict_like_any(bench: Bench) -> None:
    """The user's pin is kept, and the reason names both sides."""
    make_wheel(bench.wheels, "azure-monitor-opentelemetry-exporter", "1.0.0b58", requires=("tiny>=2",))
    make_wheel(bench.wheels, "tiny", "2.0")
    driver = bench.driver()
    asked = replace(conda("dependencies: [pip: [tiny==1.0]]"), telemetry=True)
    with pytest.raises(TerminalError, match="azure-monitor-opentelemetry-exporter"):
        bench.settle(driver, bench.change(driver, asked))


def test_a_changed_package_is_refused(bench: Bench) -> None:
    """A wheel with other bytes than the locked ones is not installed."""
    driver = bench.driver()
    first = bench.build(driver, TINY)
    driver.apply(Change(first.id, Action.DELETE, observed=first))
    make_wheel(bench.wheels, "tiny", "1.0", code="evil = True\n")
    other = bench.driver(cache_dir=bench.state.parent / "other-cache")
    with pytest.raises(TerminalError, match="not the one that was locked"):
        bench.settle(other, bench.change(other, TINY))
    assert not environment_python(bench.state, TINY.identity).exists()


def test_seed_case(bench: Bench) -> None:
    """The v1 user's file builds: Python overridden with a warning in the plan, the server package replaced."""
    make_wheel(bench.wheels, "scikit-learn", "1.9.1")
    driver = bench.driver()
    environment = Environment(conda_file=File("inference/conda.yml", "", SEED.read_bytes()))
    desired = driver.render_environment(environment)
    (warning,) = desired.warnings
    assert str(warning).startswith("inference/conda.yml:4:5: warning: Python 3.6.2 cannot be had")
    assert desired.summary.endswith("2 requirements; azureml-defaults gives way to the scoring runtime")
    assert desired.spec["requirements"] == ["inference-schema[numpy-support]", "scikit-learn"]
    assert bench.build(driver, environment).health is Health.HEALTHY
    log = list(driver.logs(desired.id, lines=100, follow=False, stop=Event()))
    assert any("azureml-defaults gives way" in line for line in log)


def test_override_forbidden(bench: Bench) -> None:
    """An operator who forbids other Pythons makes the override an error with its place."""
    environment = Environment(conda_file=File("inference/conda.yml", "", SEED.read_bytes()))
    with pytest.raises(InvalidError) as caught:
        bench.driver(allow_python_override=False).render_environment(environment)
    assert [str(problem.position) for problem in caught.value.problems] == ["inference/conda.yml:4:5"]


def test_all_problems_at_once(bench: Bench) -> None:
    """Rendering reports everything that is wrong with an environment's files."""
    environment = replace(conda("dependencies: [cudatoolkit, r-base]"), requirements=("-e .",), python="three")
    with pytest.raises(InvalidError) as caught:
        bench.driver().render_environment(environment)
    assert sorted(problem.code for problem in caught.value.problems) == [
        "no-pypi-twin",
        "no-pypi-twin",
        "python-invalid",
        "requirement-option",
    ]


def test_unsolvable(bench: Bench) -> None:
    """Requirements that cannot be met stop with the reason and the user's line, once; then it is tried anew."""
    driver = bench.driver()
    environment = conda("dependencies:\n- tiny=7\n")
    change = bench.change(driver, environment)
    with pytest.raises(TerminalError, match=r"inference/conda.yml:2:3: tiny==7\.\*") as caught:
        bench.settle(driver, change)
    assert caught.value.hint
    failed = seen(driver, change)
    assert (failed.health, failed.busy, failed.spec["built"]) == (Health.DEGRADED, False, False)
    assert failed.mark is not None
    assert failed.mark.spec_digest == ""
    assert failed.owned_by("here")
    assert "tiny==7" in failed.reason
    assert seen(bench.driver(), change).reason == failed.reason
    make_wheel(bench.wheels, "tiny", "7.1")
    assert isinstance(driver.apply(change), InProgress)
    wait_for(lambda: not seen(driver, change).busy)
    assert seen(driver, change).health is Health.HEALTHY


def test_runtime_conflict(bench: Bench) -> None:
    """Pins that the scoring runtime cannot live with are named as that."""
    driver = bench.driver()
    with pytest.raises(TerminalError) as caught:
        bench.settle(driver, bench.change(driver, conda("dependencies: [starlette=0.20]")))
    assert "the scoring runtime needs starlette" in caught.value.hint


def test_without_the_speed_packages(bench: Bench) -> None:
    """Where the faster loop and parser have no wheels, the environment is built without them."""
    for wheel in bench.wheels.glob("uvloop*"):
        wheel.unlink()
    assert bench.build(bench.driver(), TINY).outputs["packages"] == 4


def test_raw_requests_bring_werkzeug(bench: Bench) -> None:
    """Scripts with raw requests get werkzeug, others do not."""
    built = bench.build(bench.driver(), replace(TINY, raw_requests=True))
    assert built.outputs["packages"] == 7
    assert list((bench.state / "environments" / built.id.name).glob("venv/lib/python*/site-packages/werkzeug"))


def test_index_out_of_reach(bench: Bench) -> None:
    """An index that does not answer is for a retry, and neither its host nor its password is told anywhere."""
    driver = bench.driver(no_index=False, find_links=(), default_index=INDEX)
    change = bench.change(driver, TINY)
    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        bench.settle(driver, change)
    texts = [caught.value.message, seen(driver, change).reason]
    texts += [path.read_text() for path in bench.state.rglob("*") if path.is_file()]
    assert not [text for text in texts if "hunter22" in text or "localhost" in text]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AccessError),
        (404, TerminalError),
        (429, ThrottledError),
        (503, UnavailableError),
        pytest.param(403, AccessError, marks=pytest.mark.long),
        pytest.param(500, UnavailableError, marks=pytest.mark.long),
    ],
)
def test_answers_of_the_index(bench: Bench, status: int, kind: type[TargetError]) -> None:
    """Each HTTP status of an index has its class: the operator's credentials, a retry, or the user's spelling."""

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        index = f"http://user:hunter22@127.0.0.1:{server.server_port}/simple"
        driver = bench.driver(no_index=False, find_links=(), default_index=index)
        with pytest.raises(TargetError) as caught:
            bench.settle(driver, bench.change(driver, TINY))
        server.shutdown()
    assert type(caught.value) is kind
    assert "127.0.0.1" not in caught.value.message


def test_rendering_is_remembered(bench: Bench) -> None:
    """Many services with one environment cost one rendering, also where the Python must be overridden."""
    driver = bench.driver()
    environment = conda("dependencies: [python=3.6.2, tiny]")
    assert driver.render_environment(environment) is driver.render_environment(
        conda("dependencies: [python=3.6.2, tiny]")
    )


def test_hanging_index(bench: Bench) -> None:
    """While an index hangs, no argument list tells its password, and closing the driver ends uv at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        index = f"http://user:hunter22@127.0.0.1:{server.getsockname()[1]}/simple"
        driver = bench.driver(no_index=False, find_links=(), default_index=index)
        change = bench.change(driver, TINY)
        driver.apply(change)
        server.settimeout(30)
        connection, _ = server.accept()
        children = psutil.Process().children()
        commands = [" ".join(child.cmdline()) for child in children]
        assert [command for command in commands if "pip compile" in command]
        assert not [command for command in commands if "hunter22" in command]
        driver.close()
        assert not [child for child in children if child.is_running() and "compile" in child.cmdline()]
        connection.close()
    assert "interrupted" in seen(driver, change).reason


def test_interrupted_build(bench: Bench) -> None:
    """A build that is ended in the middle leaves nothing that looks complete, and the next apply builds it."""
    driver = bench.driver()
    change = bench.change(driver, TINY)
    driver.apply(change)
    driver.close()
    again = bench.driver()
    place = place_of(bench.state, change.id.name)
    assert not place.marker.exists()
    answered = bench.settle(again, change)
    assert answered is not None
    assert answered.health is Health.HEALTHY


BUILD_AND_DIE = """
import os, sys, threading, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.artifacts.environments.conftest import Bench, conda
from reconciler.artifacts.environments.settings import EnvironmentSettings
settings = EnvironmentSettings(no_index=True, find_links=({wheels!r},), cache_dir=Path({cache!r}))
bench = Bench(Path({state!r}), Path(), settings)
driver = bench.driver()
driver.apply(bench.change(driver, conda("dependencies: [tiny]")))
print("started", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    "stage", ["venv", *(pytest.param(name, marks=pytest.mark.long) for name in ("request.json", "venv/lib"))]
)
def test_killed_in_the_middle(bench: Bench, stage: str) -> None:
    """After a kill -9 of the whole program at any stage, the next one builds the environment whole."""
    root = str(Path(__file__).parents[3])
    code = BUILD_AND_DIE.format(
        root=root, state=str(bench.state), wheels=str(bench.wheels), cache=str(bench.settings.cache_dir)
    )
    change = bench.change(bench.driver(), TINY)
    place = place_of(bench.state, change.id.name)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, cwd=root) as process:
        wait_for((place.folder / stage).exists)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    driver = bench.driver()
    wait_for(lambda: not seen(driver, change).busy)
    answered = bench.settle(driver, change)
    assert answered is not None
    assert answered.health is Health.HEALTHY
    assert subprocess.run([place.python, "-c", "import tiny, uvicorn"], check=False).returncode == 0


def test_another_process_builds(bench: Bench) -> None:
    """While another process holds the build lock, this one says busy and waits."""
    driver = bench.driver()
    change = bench.change(driver, TINY)
    place = place_of(bench.state, change.id.name)
    place.folder.mkdir(parents=True)
    place.request.write_text(json.dumps({"mark": change.mark.to_json(), "spec": {}}) if change.mark else "")
    with building(place):
        assert seen(driver, change).busy
        assert isinstance(driver.apply(change), InProgress)
        with pytest.raises(BusyError), building(place):
            pass
    assert not seen(driver, change).busy
    assert "interrupted" in seen(driver, change).reason


def test_uv_inherits_the_build_lock(tmp_path: Path) -> None:
    """A child that inherits the lock keeps it after its parent let go, so nobody builds beside an orphan."""
    place = place_of(tmp_path, "py-000000000000")
    with building(place) as held:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(held,))
    try:
        with pytest.raises(BusyError), building(place):
            pass
    finally:
        child.kill()
        child.wait()
    with building(place) as held:
        fcntl.flock(held, fcntl.LOCK_EX)


@pytest.mark.parametrize("gone", ["lib/python3/site-packages/tiny", "bin/python", "pyvenv.cfg"])
def test_damage_is_noticed_and_repaired(bench: Bench, gone: str) -> None:
    """Files that go missing make it Degraded with the reason, and an update builds it anew from the same lock."""
    driver = bench.driver()
    first = bench.build(driver, TINY)
    venv = environment_path(bench.state, TINY.identity)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    victim = venv / gone.replace("python3/", f"{version}/")
    victim.rename(venv.parent / "elsewhere")
    change = bench.change(driver, TINY, Action.UPDATE)
    broken = seen(driver, change)
    assert (broken.health, broken.spec["built"]) == (Health.DEGRADED, False)
    assert "missing" in broken.reason
    repaired = bench.settle(driver, replace(change, observed=broken))
    assert repaired is not None
    assert (repaired.health, repaired.outputs["lock"]) == (Health.HEALTHY, first.outputs["lock"])


def test_vanished_interpreter(bench: Bench) -> None:
    """An environment whose base Python was uninstalled is Degraded and says so."""
    driver = bench.driver()
    bench.build(driver, TINY)
    python = environment_python(bench.state, TINY.identity)
    python.unlink()
    python.symlink_to("/nonexistent/python3")
    assert "gone from this machine" in seen(driver, bench.change(driver, TINY)).reason


def test_corrupt_record(bench: Bench) -> None:
    """A record that cannot be read does not count as built; the environment is still ours and is built again."""
    driver = bench.driver()
    built = bench.build(driver, TINY)
    place_of(bench.state, built.id.name).marker.write_text("{half")
    change = bench.change(driver, TINY, Action.UPDATE)
    assert seen(driver, change).spec["built"] is False
    repaired = bench.settle(driver, change)
    assert repaired is not None
    assert repaired.health is Health.HEALTHY


def test_delete(bench: Bench) -> None:
    """Deleting takes exactly one, deleting what is gone succeeds, and the lock record stays."""
    driver = bench.driver()
    other = bench.build(driver, conda("dependencies: []"))
    built = bench.build(driver, TINY)
    delete = Change(built.id, Action.DELETE, observed=built)
    assert driver.apply(delete) == Done()
    assert driver.apply(replace(delete, observed=None)) == Done()
    assert list(driver.observe([]).resources) == [other.id]
    assert not list((bench.state / "environments").glob(".trash*"))


def test_delete_in_use(bench: Bench) -> None:
    """An environment that somebody uses is not deleted."""
    driver = bench.driver()
    built = bench.build(driver, TINY)
    bench.users.append("process 4711")
    with pytest.raises(BusyError, match="process 4711"):
        driver.apply(Change(built.id, Action.DELETE, observed=built))
    assert seen(driver, bench.change(driver, TINY)).health is Health.HEALTHY


def test_delete_ends_a_build(bench: Bench) -> None:
    """Deleting what is being built ends the build and takes what there is of it, without being called again."""
    driver = bench.driver()
    change = bench.change(driver, TINY)
    driver.apply(change)
    assert isinstance(driver.apply(Change(change.id, Action.DELETE)), InProgress)
    wait_for(lambda: driver.observe([]).resources == {})


def test_processes_using(bench: Bench) -> None:
    """A process run by an environment's Python counts as its user, until it ends."""
    built = bench.build(bench.driver(), TINY)
    venv = Path(str(built.outputs["path"]))
    assert processes_using(venv) == []
    child = subprocess.Popen([venv / "bin" / "python", "-c", "input()"], stdin=subprocess.PIPE)
    wait_for(lambda: processes_using(venv) == [f"process {child.pid}"])
    child.communicate(b"\n")
    assert processes_using(venv) == []


def test_foreign(bench: Bench) -> None:
    """What another installation built is refused unless adopted; adopting takes it over without a build."""
    driver = bench.driver()
    built = bench.build(driver, TINY)
    change = bench.change(driver, TINY)
    theirs = replace(change, mark=mark_of(driver.render_environment(TINY), "elsewhere"))
    with pytest.raises(ForeignError):
        driver.apply(theirs)
    answered = driver.apply(replace(theirs, action=Action.ADOPT))
    assert isinstance(answered, Done)
    assert answered.answered is not None
    assert answered.answered.mark == theirs.mark
    assert answered.answered.outputs == built.outputs


def test_copy_is_not_ours(bench: Bench) -> None:
    """A copy of an environment under another name keeps its self-reference and so is not ours."""
    driver = bench.driver()
    built = bench.build(driver, TINY)
    root = bench.state / "environments"
    copy = root / "py-cccccccccccc"
    copy.mkdir()
    for name in ("environment.json", "request.json"):
        (copy / name).write_bytes((root / built.id.name / name).read_bytes())
    owned = {resource.name: item.owned_by("here") for resource, item in driver.observe([]).resources.items()}
    assert owned == {built.id.name: True, "py-cccccccccccc": False}


def test_another_installation_lists_its_own(bench: Bench) -> None:
    """A driver of one installation does not list what another built, unless asked for that very name."""
    built = bench.build(bench.driver(), TINY)
    other = EnvironmentsDriver(
        bench.state, bench.settings, lambda: Machine((OWN,)), {}, lambda _: (), installation="elsewhere"
    )
    assert other.observe([]).resources == {}
    assert list(other.observe([built.id]).resources) == [built.id]


def test_unknown_folder_is_foreign(bench: Bench) -> None:
    """A folder without a record at a known place is seen, without a mark, and refused."""
    driver = bench.driver()
    change = bench.change(driver, TINY)
    place_of(bench.state, change.id.name).folder.mkdir(parents=True)
    assert seen(driver, change).mark is None
    with pytest.raises(ForeignError):
        driver.apply(change)


def test_stale_version(bench: Bench) -> None:
    """A write on a stale version conflicts and writes nothing."""
    driver = bench.driver()
    built = bench.build(driver, TINY)
    with pytest.raises(ConflictError):
        driver.apply(Change(built.id, Action.DELETE, observed=replace(built, version="stale")))
    assert seen(driver, bench.change(driver, TINY)) == built


def test_new_mark(bench: Bench) -> None:
    """Another mark is written without building again."""
    driver = bench.driver()
    built = bench.build(driver, TINY)
    mark = Mark("here", "", "main@sha1:2", "", str(built.id), protect=True)
    change = replace(bench.change(driver, TINY, Action.UPDATE), mark=mark, observed=built)
    answered = driver.apply(change)
    assert isinstance(answered, Done)
    assert answered.answered is not None
    assert answered.answered.mark == mark


def test_logs_follow(bench: Bench) -> None:
    """Following a build log ends when told to and gives the last lines first."""
    driver = bench.driver()
    built = bench.build(driver, TINY)
    stop = Event()
    lines = driver.logs(built.id, lines=1, follow=True, stop=stop)
    assert next(lines).startswith("built in")
    with place_of(bench.state, built.id.name).log.open("a") as log:
        log.write("more\n")
    assert next(lines) == "more"
    stop.set()
    assert list(lines) == []


def test_watch(bench: Bench) -> None:
    """The end of a build is an event."""
    driver = bench.driver()
    built = bench.build(driver, TINY)
    stop = Event()
    assert next(driver.watch(stop)) == f"{built.id.name}: built"


def test_spark_without_java(bench: Bench) -> None:
    """spark-py brings pyspark, warns in the plan where there is no Java, and does not build there."""
    environment = Environment(runtime="spark-py")
    driver = bench.driver()
    desired = driver.render_environment(environment)
    assert desired.spec["requirements"] == ["pyspark"]
    assert [warning.code for warning in desired.warnings] == ["java-missing"]
    with pytest.raises(TerminalError, match="needs a Java runtime"):
        bench.settle(driver, bench.change(driver, environment))


def test_broken_interpreter(bench: Bench, tmp_path: Path) -> None:
    """A Python that does not run is passed over for the next of its version, and named if there is none."""
    broken = tmp_path / "python3.11"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    bad = Interpreter(OWN.minor, broken)
    driver = EnvironmentsDriver(bench.state, bench.settings, lambda: Machine((bad, OWN)), {}, lambda _: ())
    bench.drivers.append(driver)
    assert bench.build(driver, TINY).health is Health.HEALTHY
    alone = EnvironmentsDriver(bench.state, bench.settings, lambda: Machine((bad,)), {}, lambda _: ())
    bench.drivers.append(alone)
    with pytest.raises(TerminalError, match="does not run"):
        bench.settle(alone, bench.change(alone, conda("dependencies: []")))


def test_state_directory_unusable(bench: Bench) -> None:
    """A state directory that cannot be read is an error, never an empty observation."""
    bench.state.mkdir()
    (bench.state / "environments").write_text("a file")
    with pytest.raises(UnavailableError, match="state directory"):
        bench.driver().observe([])
