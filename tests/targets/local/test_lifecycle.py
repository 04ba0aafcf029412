"""From nothing to a serving version, to the next, to nothing again."""

import os
import socket
import threading
from pathlib import Path

import pytest

from reconciler.core.change import Action, Step
from reconciler.core.deployment import Auth
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import ConflictError
from reconciler.core.resources import Health
from reconciler.core.secrets import seal

from .harness import SCRIPT, score, score_staged, until


def test_staged_version_answers_on_a_private_socket_only(bench):
    """A staged version can be asked through its own socket while the service's port refuses connections."""
    seen = bench.stage(bench.deployment())
    address = bench.driver.address(bench.id(), staged=True)
    assert seen.staged.health is Health.HEALTHY
    assert score_staged(address) == (200, "one")
    assert bench.driver.address(bench.id()) is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", bench.state()["port"]))


def test_promoted_version_reads_as_rendered(bench):
    """What observe reports after a promotion is what render made, and it is Healthy and marked."""
    deployment = bench.deployment(environment_variables={"A": "b"}, cpu_cores=1.0, replicas=2)
    seen = bench.deploy(deployment)
    (desired,) = bench.driver.render(deployment)
    assert seen.spec == desired.spec
    assert seen.mark.spec_digest == desired.spec_digest
    assert seen.mark.revision == "rev-1"
    assert seen.owned_by("installation-1")
    assert len(seen.outputs["workers"]) == 2
    assert score(seen) == (200, "one")
    assert bench.driver.address(bench.id()).url == seen.outputs["url"]


def test_looking_twice_gives_the_same_object(bench):
    """Nothing changed, so nothing has to be compared again."""
    bench.deploy(bench.deployment())
    assert bench.observe() is bench.observe()


def test_update_keeps_the_port_and_ends_the_version_before(bench):
    """A chosen port stays with the service through updates; the processes of the old version end."""
    first = bench.deploy(bench.deployment("one"))
    second = bench.deploy(bench.deployment("two"))
    assert second.outputs["port"] == first.outputs["port"]
    assert second.outputs["pid"] == first.outputs["pid"]
    assert score(second) == (200, "two")
    until(lambda: not os.path.exists(f"/proc/{first.outputs['workers'][0]}"))
    until(lambda: len(list((bench.folder() / "versions").iterdir())) == 1)


def test_update_moves_to_another_port(bench):
    """A version with another port listens there, and the port before is let go."""
    first = bench.deploy(bench.deployment())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        wanted = probe.getsockname()[1]
    second = bench.deploy(bench.deployment(port=wanted))
    assert second.outputs["port"] == wanted
    assert score(second) == (200, "one")
    until(lambda: _refuses(first.outputs["port"]))


def _refuses(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_discarded_update_leaves_the_serving_version(bench):
    """Discarding ends what is staged; the version that serves is not touched."""
    before = bench.deploy(bench.deployment("one"))
    bench.stage(bench.deployment("two"))
    done = bench.apply(bench.change(bench.deployment("two"), Step.DISCARD))
    assert isinstance(done, Done)
    assert done.answered.staged is None
    assert done.answered.outputs == before.outputs
    assert done.answered.version == before.version
    assert score(done.answered) == (200, "one")


def test_discarded_create_leaves_nothing(bench):
    """A service that was never promoted is gone after a discard, processes and files."""
    bench.stage(bench.deployment())
    bench.apply(bench.change(bench.deployment(), Step.DISCARD))
    until(lambda: bench.observe() is None)
    until(lambda: not bench.processes() and not list(bench.root.iterdir()))


def test_delete_removes_processes_and_files(bench):
    """Deleting ends everything and leaves no file."""
    seen = bench.deploy(bench.deployment())
    bench.delete(observed=seen)
    until(lambda: not bench.processes() and not list(bench.root.iterdir()))


def test_deleting_what_is_gone_succeeds(bench):
    """Twice, and without any folder at all."""
    bench.delete()
    bench.deploy(bench.deployment())
    bench.delete()
    bench.delete()


def test_apply_in_one_go(bench):
    """Without staging asked for, the version is promoted as soon as it is ready."""
    change = bench.change(bench.deployment(), Step.APPLY, Action.CREATE)
    assert isinstance(bench.apply(change), InProgress)
    seen = until(lambda: (now := bench.observe()) and not now.busy and now)
    assert seen.health is Health.HEALTHY
    assert seen.mark == change.mark
    assert score(seen) == (200, "one")
    assert isinstance(bench.apply(change), Done)


def test_mark_is_rewritten_without_a_restart(bench):
    """Protecting a service changes its mark and no process."""
    before = bench.deploy(bench.deployment())
    done = bench.apply(bench.change(bench.deployment(protect=True), Step.APPLY, revision="rev-2"))
    assert done.answered.mark.protect
    assert done.answered.mark.revision == "rev-2"
    assert done.answered.outputs == before.outputs
    assert done.answered.version != before.version


def test_unchanged_apply_writes_nothing(bench):
    """A second apply of the same leaves version and files as they are."""
    before = bench.deploy(bench.deployment())
    changed_at = (bench.folder() / "identity.json").stat().st_mtime_ns
    done = bench.apply(bench.change(bench.deployment(), Step.APPLY))
    assert done.answered.version == before.version
    assert (bench.folder() / "identity.json").stat().st_mtime_ns == changed_at


def test_keys_rotate_without_a_restart(bench):
    """New keys are in force on the processes that serve; the old ones no longer."""
    auth = Auth(enabled=True, primary=seal(b"k", "first"), secondary=seal(b"k", "second"))
    before = bench.deploy(bench.deployment(auth=auth))
    assert score(before)[0] == 401
    assert score(before, key="first") == (200, "one")
    rotated = Auth(enabled=True, primary=seal(b"k", "third"), secondary=seal(b"k", "second"))
    done = bench.apply(bench.change(bench.deployment(auth=rotated), Step.APPLY))
    until(lambda: score(before, key="third") == (200, "one"))
    assert score(before, key="first")[0] == 401
    assert score(before, key="second")[0] == 200
    assert done.answered.outputs == before.outputs
    assert done.answered.spec == bench.driver.render(bench.deployment(auth=rotated))[0].spec


def test_keys_file_edited_by_hand_is_drift(bench):
    """Observed keys are those of the file once it is not what was written, and an apply writes ours back."""
    deployment = bench.deployment(auth=Auth(enabled=True, primary=seal(b"k", "a"), secondary=seal(b"k", "b")))
    bench.deploy(deployment)
    with open(bench.state()["keysFile"], "w") as file:
        file.write('{"keys": []}')
    assert bench.observe().spec["auth"] == {"enabled": True, "keys": {}}
    bench.apply(bench.change(deployment, Step.APPLY))
    assert bench.observe().spec == bench.driver.render(deployment)[0].spec


def test_promoting_what_is_not_staged_conflicts(bench):
    """A promote without its staged version is a conflict, so that the engine looks again."""
    bench.deploy(bench.deployment("one"))
    with pytest.raises(ConflictError, match="not staged"):
        bench.apply(bench.change(bench.deployment("two"), Step.PROMOTE))


def test_promoting_twice_is_one_promotion(bench):
    """A repeated promote finds it done."""
    bench.deploy(bench.deployment())
    version = bench.observe().version
    assert isinstance(bench.apply(bench.change(bench.deployment(), Step.PROMOTE)), Done)
    assert bench.observe().version == version


def test_staging_another_version_replaces_the_staged_one(bench):
    """A newer commit stages over what was staged before."""
    bench.stage(bench.deployment("one"))
    bench.stage(bench.deployment("two"))
    seen = bench.promote(bench.deployment("two"))
    assert score(seen) == (200, "two")
    assert len(bench.state()["serving"]["workers"]) == 1


def test_whole_source_tree_and_models_are_there(bench):
    """The script finds its modules, its folder as working directory, and AZUREML_MODEL_DIR."""
    script = (
        "import os, lib.names\n\ndef init(): pass\n\ndef run(data):\n"
        "    return repr((lib.names.N, open('data.txt').read(), os.environ['AZUREML_MODEL_DIR']))\n"
    )
    files = {"score.py": "import sys\nsys.path.insert(0, '.')\n" + script, "lib/names.py": "N = 1\n", "data.txt": "x"}
    seen = bench.deploy(bench.deployment(files=files))
    assert score(seen)[1] == repr((1, "x", str(bench.models)))


def test_environment_of_workers_is_made_from_scratch(bench, monkeypatch):
    """Nothing of the daemon's environment reaches supervisor or worker; the service's variables do."""
    monkeypatch.setenv("DAEMON_SECRET", "canary")
    script = "import os\n\ndef init(): pass\n\ndef run(data):\n    return sorted(os.environ)\n"
    seen = bench.deploy(bench.deployment(script=script, environment_variables={"MINE": seal(b"k", "hidden")}))
    answer = score(seen)[1]
    assert "MINE" in answer
    assert "DAEMON_SECRET" not in answer
    supervisor = Path(f"/proc/{seen.outputs['pid']}/environ").read_bytes()
    assert b"canary" not in supervisor
    assert b"hidden" not in supervisor


def test_secrets_stay_out_of_files_and_command_lines(bench):
    """Neither keys nor secret variables can be read in any file of the service or any argv."""
    auth = Auth(enabled=True, primary=seal(b"k", "canary-1"), secondary=seal(b"k", "canary-2"))
    seen = bench.deploy(bench.deployment(auth=auth, environment_variables={"T": seal(b"k", "canary-3")}))
    files = [path for path in bench.root.rglob("*") if path.is_file()]
    pids = [seen.outputs["pid"], *seen.outputs["workers"]]
    texts = [path.read_bytes() for path in files] + [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    assert not [text for text in texts if b"canary" in text]
    assert "canary" not in repr(seen)
    assert all(path.stat().st_mode & 0o077 == 0 for path in files if path.name in ("service.json", "keys.json"))


def test_print_of_init_reaches_the_log(bench):
    """The log holds what the script prints and what happened to the service."""
    bench.deploy(bench.deployment(script=SCRIPT))
    lines = list(bench.driver.logs(bench.id(), lines=100, follow=False, stop=threading.Event()))
    assert any("init of one" in line for line in lines)
    assert any("promoted" in line for line in lines)
