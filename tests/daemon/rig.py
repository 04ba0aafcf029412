"""A whole daemon over a real Git repo and memory targets: what is wanted stands in one JSON file of each commit."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.core.contents import Tree
from reconciler.core.deployment import Target
from reconciler.core.errors import InvalidError
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Position, Problem
from reconciler.core.resources import Desired, ResourceId
from reconciler.core.smoke import SmokeTest
from reconciler.core.values import Unknown
from reconciler.engine.clock import Clock, SystemClock
from reconciler.engine.daemon import Announcement, Daemon, Options, Pace, Parts, Reconciled, Snapshot
from reconciler.engine.daemon.published import Publish
from reconciler.engine.daemon.signals import Ending
from reconciler.engine.desired import DesiredState
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.store import Store
from reconciler.source.settings import SourceSettings
from reconciler.source.source import open_source
from reconciler.source.watch import Watch
from reconciler.targets.memory.driver import CAPABILITIES, MemoryDriver
from reconciler.targets.memory.world import World

INSTALLATION = "rc-test"
FILE = "wanted.json"
PATIENCE = 60.0
# Fast enough that no test waits for the pace itself.
PACE = Pace(burst=1000.0, per_second=1000.0, first_pause=0.05, longest_pause=0.2)


def service(name: str, target: str = "east", **more: Any) -> dict[str, Any]:
    """A service of one commit; `needs` are ids, `tests` say whether it has one, everything else is spec."""
    return {"name": name, "target": target, "kind": more.pop("kind", "service"), **more}


def _policy(drift: str = "heal", rules: Mapping[str, str] | None = None, **more: bool) -> Policy:
    """A policy whose rules stand as pattern -> policy, the last one winning."""
    made = tuple(DriftRule(pattern, FieldPolicy(policy), "service") for pattern, policy in (rules or {}).items())
    return Policy(drift=FieldPolicy(drift), rules=made, **more)


@dataclass
class JsonStates:
    """Reads `wanted.json` of a tree; a service with `"broken": true` is a manifest with an error.

    One with `"approval": true` has a target whose policy asks for approvals.
    """

    targets: Sequence[str]
    before: dict[ResourceId, Desired] = field(default_factory=dict)

    def of(self, tree: Tree) -> DesiredState:
        items = json.loads(tree.read(FILE, 1 << 24))
        good = [item for item in items if not item.get("broken")]
        bad = [item["name"] for item in items if item.get("broken")]
        approval = frozenset(item["target"] for item in good if item.pop("approval", False))
        desired = [self._desired(dict(item)) for item in good]
        kept = tuple(self.before[d.id] if self.before.get(d.id) == d else d for d in desired)
        self.before = {d.id: d for d in kept}
        problems = tuple(Problem("broken", f"{name} is broken", Position(FILE, 1, 1)) for name in bad)
        named = {d.id.target for d in kept if d.id.target in self.targets}
        return DesiredState(
            tree.revision,
            kept,
            {name: Target(name, "memory") for name in named},
            frozenset(d.service for d in kept if d.service) | frozenset(bad),
            frozenset(bad),
            not bad,
            problems,
            (),
            {},
            approval=approval,
        )

    def _desired(self, item: dict[str, Any]) -> Desired:
        name, target, kind = item.pop("name"), item.pop("target"), item.pop("kind")
        needs = tuple(ResourceId.parse(text) for text in item.pop("needs", ()))
        tests = (SmokeTest("answers", request={}, expect={}),) if item.pop("tests", False) else ()
        policy = _policy(**item.pop("policy", {}))
        image = item.pop("image", "one")
        spec = {"image": Unknown(image[1:], "/digest") if image.startswith("?") else image, **item}
        owner = "" if target.startswith("registry/") else name
        return Desired(ResourceId(target, kind, name), spec, owner, needs, policy, tests=tests)


@dataclass
class Rig:
    """One repo, one state directory, some worlds, and a daemon over them."""

    folder: Path
    names: Sequence[str] = ("east", "west")
    registry_names: Sequence[str] = ()
    clock: Clock = field(default_factory=SystemClock)
    options: Options = field(default_factory=lambda: Options(full_look_seconds=3600, grace_seconds=5, pace=PACE))
    in_files: bool = False
    watch: bool = True
    observers: Sequence[Callable[[Reconciled], None]] = ()
    announcement: Announcement | None = None
    publish: Publish | None = None
    ended: queue.Queue[Reconciled] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        self.repo = self.folder / "repo"
        self.state = self.folder / "state"
        self.state.mkdir(exist_ok=True)
        names = (*self.names, *self.registry_names)
        self.worlds = {n: World(self._file(n) if self.in_files else None) for n in names}
        self.drivers = {n: MemoryDriver(n, world, INSTALLATION, CAPABILITIES) for n, world in self.worlds.items()}
        if not self.repo.exists():
            self.repo.mkdir()
            self.git("init", "-q", "-b", "main")
            self.git("config", "user.email", "dev@example.org")
            self.git("config", "user.name", "Dev")
            self.commit()
        self.store = Store(self.state / "state.db", self.clock)
        self.source = open_source(SourceSettings(str(self.repo)), self.folder / "cache")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.json"

    def git(self, *args: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        done = subprocess.run(
            ["git", *args], cwd=self.repo, check=True, capture_output=True, text=True, env=environment
        )
        return done.stdout.strip()

    def commit(self, *wanted: Mapping[str, Any]) -> str:
        """A new commit that wants just this; its sha."""
        (self.repo / FILE).write_text(json.dumps(wanted))
        self.git("add", FILE)
        self.git("commit", "-q", "--allow-empty", "-m", "another wish")
        return self.git("rev-parse", "HEAD")

    def parts(self) -> Parts:
        """All that a daemon is made of."""
        reconciler = Reconciler(
            self.source.tree,
            JsonStates(self.names),
            lambda targets: ({n: self.drivers[n] for n in targets if n in self.names}, []),
            [self.drivers[n] for n in self.registry_names],
            self.store,
            self.clock,
            INSTALLATION,
            backoff=lambda attempts: 0.2 * attempts,
        )
        watches = [Watch(self.repo / ".git", self.repo / ".git").events] if self.watch else []
        return Parts(reconciler, watches, options=self.options, announcement=self.announcement, publish=self.publish)

    def make(self, **more: Any) -> Daemon:
        """A daemon; not started."""
        made = {"wake_file": self.state / "wake", "signals": False, **more}
        return Daemon(self.parts(), self.store, self.clock, observers=[self.ended.put, *self.observers], **made)

    @contextmanager
    def running(self, daemon: Daemon | None = None) -> Iterator[Daemon]:
        """A daemon in a thread, stopped at the end; `codes` of the yielded daemon holds its exit code then."""
        daemon = daemon or self.make()
        codes: list[Any] = []

        def run() -> None:
            try:
                codes.append(daemon.run())
            except BaseException as exc:
                codes.append(exc)

        thread = threading.Thread(target=run)
        daemon.codes = codes
        thread.start()
        try:
            yield daemon
        finally:
            daemon.end(Ending("the test is over", 0))
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def next(self, wanted: Callable[[Reconciled], bool]) -> Reconciled:
        """The next finished reconcile that meets a condition."""
        limit = time.monotonic() + PATIENCE
        while True:
            record = self.ended.get(timeout=max(0.0, limit - time.monotonic()))
            if wanted(record):
                return record

    def settled(self, daemon: Daemon, ready: Callable[[Snapshot], bool]) -> Snapshot:
        """The first snapshot that meets a condition."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            snapshot = daemon.board.snapshot()
            if ready(snapshot):
                return snapshot
            daemon.board.wait(lambda _: False, 0.05)
        raise AssertionError(f"never came true: {daemon.board.snapshot()}")

    def close(self) -> None:
        self.source.close()
        self.store.close()


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What the condition gives once it is true."""
    limit = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < limit:
        found = condition()
        if found:
            return found
        pause.wait(0.01)
    raise AssertionError("never came true")


def invalid() -> Parts:
    """Settings that cannot be used."""
    problem = Problem("unknown-key", "unknown key", Position("reconciler.yaml", 3, 1))
    raise InvalidError("the settings cannot be used", problems=[problem])
