"""A daemon over a repo of many services and one target that costs no memory: `python -m bench.daemon_memory FOLDER`.

The target holds its resources as one compressed text, read anew at each look, as a real one's answer would be.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from reconciler.core.change import Change
from reconciler.core.deployment import Deployment
from reconciler.core.driver import Capabilities, Done
from reconciler.core.resources import Completeness, Desired, Mark, Observation, Observed, ResourceId
from reconciler.engine.clock import SystemClock
from reconciler.engine.daemon import Daemon, Options, Parts, Reconciled
from reconciler.engine.daemon.logs import configure_logging
from reconciler.engine.daemon.signals import Ending
from reconciler.engine.desired import DesiredStates
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.store import Store
from reconciler.manifests.cache import DocumentCache
from reconciler.source.settings import SourceSettings
from reconciler.source.source import open_source
from reconciler.source.watch import Watch
from reconciler.targets.memory.render import render

MIB = 1024 * 1024


class Compressed:
    """A target whose state is text."""

    target = "local"
    capabilities = Capabilities(kinds=frozenset({"service"}), parallel=8)

    def __init__(self) -> None:
        self._there: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """Without the models and environments, which nobody makes here."""
        plain = replace(deployment, settings=replace(deployment.settings, block={}))
        return [replace(d, depends_on=(), tests=()) for d in render(plain)]

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        found: dict[ResourceId, Observed] = {}
        with self._lock:
            for name, data in self._there.items():
                record = json.loads(zlib.decompress(data))
                id_ = ResourceId(self.target, "service", name)
                found[id_] = Observed(id_, record["spec"], Mark.from_json(record["mark"]))
        return Observation(self.target, Completeness.COMPLETE, found)

    def apply(self, change: Change) -> Done:
        assert change.desired is not None
        assert change.mark is not None
        text = json.dumps({"spec": change.desired.spec, "mark": change.mark.to_json()})
        with self._lock:
            self._there[change.id.name] = zlib.compress(text.encode())
        return Done(Observed(change.id, json.loads(text)["spec"], change.mark))

    def close(self) -> None:
        """Nothing is held."""


def main(folder: Path) -> None:
    """Runs a daemon through its first look, a full one and a commit of one file, and prints what it took."""
    repo = folder / "repo"
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "-C", str(repo)]
    for args in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "--allow-empty", "-m", "all"]):
        subprocess.run([*git, *args], check=True)
    configure_logging("json", "error")
    clock = SystemClock()
    store = Store(folder / "state" / "state.db", clock)
    source = open_source(SourceSettings(str(repo)), folder / "cache")
    driver = Compressed()

    def drivers(targets):
        return {name: driver for name in targets if name == "local"}, []

    states = DesiredStates(drivers, [], None, DocumentCache())
    reconciler = Reconciler(source.tree, states, drivers, [], store, clock, "rc-bench")
    ended: list[Reconciled] = []
    told = threading.Event()

    def observe(record: Reconciled) -> None:
        ended.append(record)
        told.set()

    def until(wanted) -> Reconciled:
        limit = time.monotonic() + 300
        while time.monotonic() < limit:
            told.clear()
            found = [r for r in ended if wanted(r)]
            if found:
                ended.clear()
                return found[-1]
            told.wait(1.0)
        daemon.end(Ending("it took too long", 1))
        raise SystemExit(f"it took too long; the last reconcile was {ended[-1:]}")

    parts = Parts(reconciler, [Watch(repo / ".git", repo / ".git").events], options=Options(full_look_seconds=3600))
    daemon = Daemon(parts, store, clock, observers=[observe], signals=False)
    thread = threading.Thread(target=daemon.run, daemon=True)
    began = time.monotonic()
    thread.start()
    until(lambda r: r.target == "local" and r.outcome == "in sync" and sum(r.health.values()) > 1)
    first = time.monotonic() - began
    began = time.monotonic()
    daemon.refresh()
    daemon.wake(None, "full look")
    until(lambda r: r.outcome == "in sync")
    full = time.monotonic() - began
    one = sorted((repo / "services").iterdir())[-1]
    one.write_text(one.read_text().replace("MODE: fast", "MODE: slow"))
    subprocess.run([*git, "add", "."], check=True)
    began = time.monotonic()
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    until(lambda r: r.changes == {"update": 1})
    changed = time.monotonic() - began
    for _ in range(5):
        daemon.wake(None, "again")
        until(lambda r: r.outcome == "in sync")
    gc.collect()
    steady = psutil.Process().memory_info().rss / MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    daemon.end(Ending("measured", 0))
    thread.join()
    print(json.dumps({"steady": steady, "peak": peak, "first": first, "full": full, "one": changed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
