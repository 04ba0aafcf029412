"""One changed file among 10,000 services in a process that looks again and again, beside a full plan of that repo.

The look is the daemon's: fetch, load, resolve, fill in each service's generated keys, observe, plan. What it takes to
report on all services after it is told beside: the other side makes no report. The target answers from memory with the
same values for what did not change, as a driver does that watches its resources; what a real target takes to answer is
measured elsewhere.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.planning import git, make_repo, plan_seconds, spread
from bench.row import Row
from reconciler.core.change import Action, Change
from reconciler.core.contents import Tree
from reconciler.core.deployment import Deployment
from reconciler.core.driver import Capabilities, Done
from reconciler.core.record import confirmed
from reconciler.core.resources import Completeness, Desired, Observation, Observed, ResourceId
from reconciler.core.sync import Sync
from reconciler.engine.clock import SystemClock
from reconciler.engine.desired import DesiredStates
from reconciler.engine.identity import load_identity
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.store import Store
from reconciler.manifests.cache import DocumentCache
from reconciler.source.settings import SourceSettings
from reconciler.source.source import open_source
from reconciler.targets.local.process.render import IN_PLACE, KIND, ProcessRenderer
from reconciler.wiring.keyring import Bytes, keyring_of

SERVICES = 10_000
EDITS = 15
GOAL = 0.02


class Watched:
    """A target that has what it was told, and renders as the process engine does."""

    target = "local"
    capabilities = Capabilities(kinds=frozenset({KIND}), stages=frozenset({KIND}), in_place=IN_PLACE)

    def __init__(self) -> None:
        self._there: dict[ResourceId, Observed] = {}
        self._renderer = ProcessRenderer(self.target)

    def render(self, deployment: Deployment) -> Sequence[Desired]:
        """The process engine's one resource, without what the built-in registries would have to make."""
        return [replace(desired, depends_on=()) for desired in self._renderer.render(deployment)]

    def observe(self, known: Sequence[ResourceId]) -> Observation:
        """All of it."""
        return Observation(self.target, Completeness.COMPLETE, dict(self._there))

    def apply(self, change: Change) -> Done:
        """Has it from now on."""
        assert change.desired is not None
        observed = Observed(change.id, change.desired.spec, change.mark)
        self._there[change.id] = observed
        return Done(observed)

    def close(self) -> None:
        """Nothing is held."""


def converge(reconciler: Reconciler, target: Watched) -> None:
    """Applies and records all that a look wants."""
    look = reconciler.look()
    baselines = dict(look.situation.baselines)
    records = []
    for change in look.plan.effective():
        answered = target.apply(change).answered
        assert answered is not None
        records.append(confirmed(change, answered, baselines.get(change.id)))
    reconciler.store.put(*records)


def looks(folder: Path, repo: Path, edits: int) -> list[tuple[float, float]]:
    """Seconds of each look right after a commit that changed one service's file, and of the report on it."""
    clock = SystemClock()
    store, target = Store(folder / "state.db", clock), Watched()

    def drivers(targets):
        return dict.fromkeys(targets, target), []

    took: list[tuple[float, float]] = []
    source = open_source(SourceSettings(str(repo)), folder / "git")
    keyring, _ = keyring_of(load_identity(folder / "identity.json"), None, store, Bytes(), {})

    def tree() -> Tree:
        keyring.begin()
        return source.tree()

    states = DesiredStates(drivers, [], keyring, DocumentCache())
    reconciler = Reconciler(tree, states, drivers, [], store, clock, "bench")
    try:
        with store.writing("bench"):
            converge(reconciler, target)
            if not reconciler.look().plan.empty:
                raise RuntimeError("the target did not come to rest")
            for number in range(edits):
                file = repo / "services" / f"service-{number * 631 % SERVICES:05d}.yaml"
                file.write_text(re.sub("MODE: [^,]+", f"MODE: edit-{time.monotonic_ns()}", file.read_text()))
                git(repo, "commit", "--quiet", "-am", f"Edit {number}")
                began = time.perf_counter()
                look = reconciler.look()
                planned = time.perf_counter()
                report = look.report
                took.append((planned - began, time.perf_counter() - planned))
                pending = [service.name for service in report.services if service.sync is not Sync.IN_SYNC]
                if look.plan.count(Action.UPDATE) != 1 or pending != [file.stem]:
                    raise RuntimeError(f"one file was changed, and the report has {pending}")
                converge(reconciler, target)
    finally:
        store.close()
        source.close()
    return took


def rows() -> list[Row]:
    """The incremental row of the table."""
    folder = Path(tempfile.mkdtemp(prefix="reconciler-bench-"))
    try:
        repo = folder / "repo"
        make_repo(repo, SERVICES)
        full = [plan_seconds(repo, folder / "state", cold=True) for _ in range(3)]
        warm = [plan_seconds(repo, folder / "state", cold=False) for _ in range(3)]
        one, reports = zip(*looks(folder, repo, EDITS), strict=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    whole = statistics.median(full)
    ratios = [seconds / whole for seconds in one]
    return [
        Row(
            f"one file changed among {SERVICES:,} services, in the daemon",
            "offline plan of the same repo, whole process",
            f"<= {GOAL}",
            f"{statistics.median(ratios):.3f} [{min(ratios):.3f}..{max(ratios):.3f}] "
            f"({1000 * statistics.median(one):.0f} ms against {spread(full)} s)",
            statistics.median(ratios) <= GOAL,
            f"of a plan with parsed documents remembered ({spread(warm)} s): "
            f"{statistics.median(one) / statistics.median(warm):.3f}; "
            f"the report on all services takes {1000 * statistics.median(reports):.0f} ms more",
        )
    ]


if __name__ == "__main__":
    print(json.dumps([row.__dict__ for row in rows()], indent=2))
