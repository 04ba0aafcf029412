"""The contract over the local process engine: real supervisors and workers, one state directory a rule."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from reconciler.core.change import Action, Change
from reconciler.core.described import Described
from reconciler.core.resources import Desired, Mark, ResourceId
from reconciler.core.secrets import seal
from reconciler.targets.local.process.driver import ProcessDriver
from reconciler.targets.local.process.layout import lock_holder, read_json, remove_tree
from reconciler.targets.local.process.spawn import sweep
from reconciler.targets.local.process.staging import Parts

from .fixture import DriverFixture
from .harness import INSTALLATION
from .manifests import redeployed
from .rules import Contract

LOCAL = Path(__file__).parents[1] / "targets" / "local"
SCRIPT = """
import os, time
from pathlib import Path

def init():
    began = time.monotonic()
    while Path({slow!r}).exists() and time.monotonic() < began + 1.5:
        time.sleep(0.01)

def run(data):
    return os.environ.get("TOKEN", {version!r})
"""


def _harness() -> ModuleType:
    """The bench of the process engine's own tests: folders, supervisors and how to end them all."""
    spec = importlib.util.spec_from_file_location("process_harness", LOCAL / "harness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HARNESS = _harness()


class ProcessFixture(DriverFixture):
    """One state directory with real processes on a stand-in for the scoring runtime."""

    patience = 1500
    cannot: ClassVar[dict[str, str]] = {
        "edit": "a process has no field that a hand can change but its key file (tests/targets/local)",
        "edit_foreign": "nothing of anybody else can be set on a process",
        "immutable": "every field can change: a new version is staged beside the old one",
        "condition": "its states are those of real processes, each brought about in tests/targets/local",
        "invalid": "what is wrong with a spec shows when the process starts, and stages as Degraded",
        "slow_delete": "an idle process stops at once; draining is shown in tests/targets/local",
        "fail": "there is no wire; what the system and a supervisor refuse is in tests/targets/local",
        "crash": "kill -9 at every step is in tests/targets/local",
    }

    def __init__(self, folder: Path) -> None:
        runtime = HARNESS.runtime_of(LOCAL / "standin.py", folder / "runtime")
        (folder / "state").mkdir()
        self.inner = HARNESS.Bench(folder / "state", runtime)
        self.gate = folder / "slow"
        self.damaged: dict[Path, bytes] = {}
        self.away: Path | None = None

    def make_driver(self, installation: str = INSTALLATION) -> ProcessDriver:
        inner = self.inner
        parts = Parts(inner.repo, lambda _: inner.python, lambda: inner.runtime, inner._lay_out, inner._reveal)
        return ProcessDriver("laptop", installation, inner.root, parts)

    def _desired(self, name: str, version: str = "one", **settings: Any) -> Desired:
        files = {"score.py": SCRIPT.format(slow=str(self.gate), version=version)}
        deployment = self.inner.deployment(version, name=name, files=files, **settings)
        # Models and environments are other drivers' matter.
        return replace(self.make_driver().render(deployment)[0], depends_on=())

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        variants: dict[str, dict[str, Any]] = {
            "": {},
            "changed": {"version": "two"},
            "more": {"environment_variables": {"EXTRA": "1"}, "memory_gb": 2.0},
        }
        return self._desired(name, **variants[variant])

    def staged(self, name: str, variant: str = "") -> Desired:
        return self.desired(name, variant)

    def move(self, name: str) -> Desired:
        return self.desired(name)

    def describable(self, name: str) -> Desired:
        return self._desired(
            name,
            cpu_cores=1.0,
            memory_gb=2.5,
            replicas=2,
            max_concurrent_requests=3,
            max_request_wait_time=700,
            max_body_mb=1.5,
            cors_origins=("https://b", "https://a"),
            environment_variables={"A": "1", "EMPTY": "", "NOT_A_KEY": "plain"},
            block={"logMaxMb": 2.5, "logFiles": 3, "openFiles": 512},
        )

    def redeployed(self, found: Described) -> Desired:
        return redeployed(found, self.make_driver())

    def awkward(self, name: str) -> Desired:
        return self._desired(
            name, cpu_cores=1, cors_origins=("https://b", "https://a"), environment_variables={"Z": "1", "A": "2"}
        )

    def secret(self, name: str, text: str) -> Desired:
        return self._desired(name, environment_variables={"TOKEN": seal(b"key", text)})

    def hidden(self, id_: ResourceId) -> str:
        seen = self.make_driver().observe([id_]).resources[id_]
        status, text = HARNESS.score(seen)
        assert status == 200, text
        return str(text).strip('"')

    def _states(self) -> list[dict[str, Any]]:
        files = self.inner.root.glob("*/service.json")
        return [read_json(str(file)) for file in files]

    def writes(self) -> int:
        return sum(int(state.get("generation", 0)) + 1 for state in self._states())

    def pause(self) -> None:
        # Between two looks at what another process does; `patience` is the deadline.
        time.sleep(0.02)

    def close(self) -> None:
        self._restore()
        self.inner.clean_up()

    def _restore(self) -> None:
        for file, content in self.damaged.items():
            file.write_bytes(content)
        if self.away is not None:
            self.inner.root.unlink()
            self.away.rename(self.inner.root)

    def touch(self, id_: ResourceId) -> None:
        driver = self.make_driver()
        desired = self.desired(id_.name)
        mark = Mark(INSTALLATION, desired.service, "touched", desired.spec_digest, str(id_))
        driver.apply(Change(id_, Action.UPDATE, desired=desired, mark=mark))

    def remove(self, id_: ResourceId) -> None:
        folder = self.inner.folder(id_.name)
        uid = read_json(str(folder / "identity.json"))["uid"]
        self.inner.uids.add(uid)
        pid = lock_holder(str(folder))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        HARNESS.until(lambda: lock_holder(str(folder)) is None)
        sweep(uid)
        remove_tree(str(folder))

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        folder = self.inner.folder(id_.name)
        folder.mkdir(parents=True)
        return lambda: list(folder.iterdir()) == []

    def copy(self, id_: ResourceId) -> ResourceId:
        twin = id_._replace(name=id_.name + "-copy")
        skip = shutil.ignore_patterns("*.sock", "lock")
        shutil.copytree(self.inner.folder(id_.name), self.inner.folder(twin.name), ignore=skip)
        return twin

    def down(self) -> None:
        self.away = self.inner.root.with_name("away")
        self.inner.root.rename(self.away)
        self.inner.root.touch()

    def fail_second_page(self) -> None:
        file = self.inner.folder("two") / "identity.json"
        self.damaged.setdefault(file, file.read_bytes())
        file.write_bytes(b"[]")

    def slow(self) -> None:
        self.gate.touch()


class TestProcess(Contract):
    """Staged by a supervisor, promoted by handing over its socket."""

    fixture = ProcessFixture

    def make(self, tmp_path: Path) -> ProcessFixture:
        return ProcessFixture(tmp_path)
