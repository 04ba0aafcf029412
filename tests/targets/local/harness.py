"""A driver with everything around it real: folders, supervisors, worker processes, sockets."""

import dataclasses
import hashlib
import http.client
import io
import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path

from reconciler.core.change import Action, Change, Step
from reconciler.core.contents import Entry
from reconciler.core.deployment import Auth, Deployment, EntryScript, Environment, Settings, Target
from reconciler.core.driver import Done, InProgress
from reconciler.core.errors import InvalidError, ReconcilerError
from reconciler.core.policy import Policy
from reconciler.core.resources import Health, Mark, Observed, ResourceId
from reconciler.core.secrets import Secret
from reconciler.targets.local.process.driver import ProcessDriver
from reconciler.targets.local.process.layout import BELONGS_TO, lock_holder, remove_tree
from reconciler.targets.local.process.look import look
from reconciler.targets.local.process.spawn import sweep
from reconciler.targets.local.process.staging import Parts

INSTALLATION = "installation-1"
SCRIPT = """
def init():
    print("init of {version}")

def run(data):
    return "{version}"
"""


def until(condition, seconds=15.0):
    """What the condition returns as soon as that is true; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
    return value


class Repo:
    """Contents by object id, in memory."""

    def __init__(self):
        self.trees = {}

    def put(self, files):
        """Adds a tree and returns its id."""
        object_id = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.trees[object_id] = {path: text.encode() for path, text in files.items()}
        return object_id

    def files(self, object_id):
        """As in the contract."""
        if object_id not in self.trees:
            raise InvalidError(f"object {object_id} is not in the repo")
        for path, data in self.trees[object_id].items():
            yield Entry(path, f"{object_id}/{path}", len(data))

    def open(self, object_id):
        """As in the contract."""
        tree, path = object_id.split("/", 1)
        return io.BytesIO(self.trees[tree][path])


class Bench:
    """One state directory and drivers on it."""

    def __init__(self, root, runtime):
        self.root = root / "services"
        self.models = root / "models"
        self.models.mkdir()
        self.runtime = runtime
        self.repo = Repo()
        self.python = Path(sys.executable)
        self.texts = {}
        self.laid_out = []
        self.uids = set()
        self.driver = self.restarted()

    def restarted(self):
        """A driver that knows nothing: what a new daemon has."""
        self.driver = ProcessDriver(
            "laptop",
            INSTALLATION,
            self.root,
            Parts(self.repo, lambda _: self.python, lambda: self.runtime, self._lay_out, self._reveal),
        )
        return self.driver

    def _lay_out(self, models):
        self.laid_out.append(list(models))
        return self.models

    def _reveal(self, secret):
        return secret.text if isinstance(secret, Secret) and secret.text else self.texts[str(secret)]

    def id(self, name="diabetes"):
        """The resource of a service."""
        return ResourceId("laptop", "process", name)

    def folder(self, name="diabetes"):
        """Where it lives."""
        return self.root / name

    def deployment(
        self, version="one", *, name="diabetes", script=None, files=None, auth=None, protect=False, **settings
    ):
        """A service whose answers are its version."""
        files = files or {"score.py": (script or SCRIPT).replace("{version}", version)}
        settings = {"ready_timeout_seconds": 20.0, "drain_seconds": 5.0, **settings}
        return Deployment(
            name,
            Target("laptop", "local"),
            (),
            EntryScript("score.py", "src", self.repo.put(files)),
            Environment(),
            auth=auth or Auth(),
            settings=Settings(**settings),
            policy=Policy(protect=protect),
        )

    def change(
        self,
        deployment,
        step,
        action=Action.UPDATE,
        observed=None,
        revision="rev-1",
        installation=INSTALLATION,
        moved_from=None,
    ):
        """What the engine would ask for."""
        (desired,) = self.driver.render(deployment)
        mark = Mark(
            installation, desired.service, revision, desired.spec_digest, str(desired.id), deployment.policy.protect
        )
        return Change(
            desired.id,
            action,
            service=desired.service,
            desired=desired,
            observed=observed,
            mark=mark,
            step=step,
            moved_from=moved_from,
        )

    def observe(self, name="diabetes") -> Observed | None:
        """The service as the driver sees it."""
        seen = self.driver.observe([self.id(name)]).resources.get(self.id(name))
        view = look(self.folder(name)) if seen else None
        self.uids |= {view.uid} if view and view.uid else set()
        return seen

    def apply(self, change):
        """One call; it must return in about a second."""
        began = time.monotonic()
        outcome = self.driver.apply(change)
        assert time.monotonic() - began < 5.0
        assert isinstance(outcome, Done | InProgress)
        return outcome

    def refusal(self, deployment):
        """The error that staging ends with, whether the call itself raises it or the work behind it."""
        try:
            self.apply(self.change(deployment, Step.STAGE))
        except ReconcilerError as error:
            return error
        job = self.driver._jobs[deployment.service]
        job.join(10)
        return job.error

    def stage(self, deployment, **extra):
        """Stages and waits until that is decided."""
        self.apply(self.change(deployment, Step.STAGE, **extra))
        name = deployment.service
        return until(
            lambda: (
                (seen := self.observe(name)) and seen.staged and seen.staged.health is not Health.PROGRESSING and seen
            )
        )

    def promote(self, deployment, **extra):
        """Promotes and waits until the new version serves alone."""
        change = self.change(deployment, Step.PROMOTE, **extra)
        self.apply(change)
        return until(
            lambda: (
                (seen := self.observe(deployment.service))
                and seen.mark == change.mark
                and seen.health is Health.HEALTHY
                and not seen.busy
                and seen
            )
        )

    def deploy(self, deployment, **extra):
        """Stage and promote."""
        seen = self.stage(deployment, **extra)
        assert seen.staged.health is Health.HEALTHY, seen.staged.reason
        return self.promote(deployment, **extra)

    def delete(self, name="diabetes", observed=None):
        """Deletes and waits until nothing is left."""
        change = Change(self.id(name), Action.DELETE, observed=observed)
        until(lambda: isinstance(self.apply(change), Done))
        assert self.observe(name) is None

    def state(self, name="diabetes"):
        """The supervisor's state file."""
        from reconciler.targets.local.process.layout import read_json

        return read_json(str(self.folder(name) / "service.json"))

    def clean_up(self):
        """Ends every supervisor of this bench; nothing of it may be left."""
        self.driver.close()
        folders = [path for path in self.root.glob("[!.]*") if path.is_dir()] if self.root.exists() else []
        for folder in folders:
            self.uids |= {json.loads((folder / "identity.json").read_text())["uid"]} if _marked(folder) else set()
            if (folder / "lock").exists() and (pid := lock_holder(str(folder))):
                os.kill(pid, 9)
        for uid in self.uids:
            sweep(uid)
            remove_tree(f"/tmp/reconciler-{os.getuid()}/{uid[:20]}")
        until(lambda: not self.processes())

    def processes(self):
        """Ids of all living processes of this bench: supervisors by command line, workers by environment."""
        return [pid for pid in _pids() if self._is_ours(pid)]

    def _is_ours(self, pid):
        line, environment = _read(f"/proc/{pid}/cmdline"), _read(f"/proc/{pid}/environ")
        return f"{self.root}/".encode() in line or (
            f"{BELONGS_TO}=".encode() in environment and str(self.root).encode() in environment
        )


def _marked(folder):
    try:
        return "uid" in json.loads((folder / "identity.json").read_text())
    except (OSError, ValueError):
        return False


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def score(seen, body=b"{}", key=None, path="/score"):
    """The status and text that a service answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", seen.outputs["port"], timeout=10)
    return _ask(connection, body, key, path)


def score_staged(address, body=b"{}", key=None, path="/score"):
    """The same through a private socket."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(address.uds)
    return _ask(connection, body, key, path)


def _ask(connection, body, key, path):
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def free_port():
    """A port that nobody has, for now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def with_changed(deployment, **changes):
    """A copy of a deployment."""
    return dataclasses.replace(deployment, **changes)


def runtime_of(script: Path, folder: Path) -> Path:
    """A folder from which `reconciler.serving` is the given script."""
    package = folder / "reconciler" / "serving"
    package.mkdir(parents=True)
    for empty in (package.parent, package):
        (empty / "__init__.py").touch()
    shutil.copy(script, package / "__main__.py")
    return folder
