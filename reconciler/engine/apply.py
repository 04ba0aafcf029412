"""Carrying out a plan: a graph in which a node is a change, run in bounded pools; one bad target blinds no other."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.change import Action, Change
from reconciler.core.driver import Driver
from reconciler.core.errors import TargetError
from reconciler.core.resources import Baseline, Completeness, Observation, ResourceId
from reconciler.core.secrets import Secret
from reconciler.engine.clock import Cancel, Clock
from reconciler.engine.lifecycle import Signal, State
from reconciler.engine.node import Node, Surroundings
from reconciler.engine.progress import Progress, Result
from reconciler.engine.store import Store

IDLE_SECONDS = 3600.0


class Looks:
    """Observations of a run, shared: many changes that wait for one target cost one look."""

    def __init__(self, drivers: Mapping[str, Driver], clock: Clock, known: Mapping[str, Sequence[ResourceId]]) -> None:
        self._drivers = drivers
        self._clock = clock
        self._known = known
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._last: dict[str, tuple[float, Observation]] = {}

    def look(self, target: str, not_before: float) -> Observation:
        """An observation begun at or after a monotonic time; a target that is down gives an unavailable one."""
        with self._locks[target]:
            began, observation = self._last.get(target, (float("-inf"), None))
            if observation is not None and began >= not_before:
                return observation
            began = self._clock.monotonic()
            try:
                observation = self._drivers[target].observe(self._known.get(target, ()))
            except TargetError as exc:
                observation = Observation(target, Completeness.UNAVAILABLE, missing=exc.message)
            self._last[target] = (began, observation)
            return observation


@dataclass
class Apply:
    """One run over a plan's changes.

    Args:
        changes: Those that may run, in plan order; what they depend on and is not among them is there already.
        outputs: Of resources that are there, by id.
        keys: By service, to test with.
        timeout: Seconds for the whole run; None for no limit beyond each target's own.
    """

    drivers: Mapping[str, Driver]
    store: Store
    clock: Clock
    changes: Sequence[Change]
    baselines: Mapping[ResourceId, Baseline]
    outputs: Mapping[ResourceId, Mapping[str, Any]]
    keys: Mapping[str, Secret]
    progress: Progress
    cancel: Cancel
    timeout: float | None = None
    workers: int = 8
    nodes: dict[ResourceId, Node] = field(default_factory=dict[ResourceId, Node], init=False)
    timed_out: bool = field(default=False, init=False)

    def run(self) -> list[Result]:
        """Carries the changes out and says how each ended; returns early only when cancelled or out of time."""
        known: dict[str, list[ResourceId]] = defaultdict(list)
        for change in self.changes:
            known[change.id.target].append(change.id)
        looks = Looks(self.drivers, self.clock, known)
        for change in self.changes:
            around = Surroundings(
                self.drivers[change.id.target],
                self.store,
                self.clock,
                self.progress,
                looks.look,
                self._outputs,
                self.keys,
            )
            self.nodes[change.id] = Node(change, around, self.baselines.get(change.id))
        self._needs = {node.id: self._needed(node) for node in self.nodes.values()}
        self._schedule()
        return [node.result() for node in self.nodes.values()]

    _needs: Mapping[ResourceId, frozenset[ResourceId]] = field(
        default_factory=dict[ResourceId, "frozenset[ResourceId]"], init=False
    )

    def _outputs(self, id_: ResourceId) -> Mapping[str, Any]:
        node = self.nodes.get(id_)
        if node is not None and node.answered is not None:
            return node.answered.outputs
        return self.outputs.get(id_, {})

    def _needed(self, node: Node) -> frozenset[ResourceId]:
        """Creates and updates come after what they depend on, deletes after what depended on them."""
        if node.change.action is not Action.DELETE:
            wanted = (self.nodes.get(i) for i in node.change.depends_on)
            return frozenset(n.id for n in wanted if n is not None and n.change.action is not Action.DELETE)
        before: set[ResourceId] = set()
        for other in self.nodes.values():
            baseline = self.baselines.get(other.id)
            had = set(baseline.depends_on) if baseline else set[ResourceId]()
            if node.id in had or node.id in other.change.depends_on:
                before.add(other.id)
        return frozenset(before)

    def _schedule(self) -> None:
        deadline = None if self.timeout is None else self.clock.monotonic() + self.timeout
        wake = threading.Event()
        finished: list[Node] = []
        lock = threading.Lock()
        running: set[ResourceId] = set()

        def work(node: Node) -> None:
            node.advance()
            with lock:
                finished.append(node)
            wake.set()

        with ThreadPoolExecutor(self.workers, thread_name_prefix="apply") as pool:
            watcher = threading.Thread(target=self._forward, args=(wake,), daemon=True)
            watcher.start()
            while True:
                wake.clear()
                with lock:
                    for node in finished:
                        running.discard(node.id)
                    finished.clear()
                now = self.clock.monotonic()
                if deadline is not None and now >= deadline:
                    self.timed_out = True
                    self.cancel.request("out of time")
                if self.cancel.requested:
                    self._stop(running)
                open_nodes = [n for n in self.nodes.values() if not n.final]
                if not open_nodes and not running:
                    break
                if not self.cancel.requested:
                    for node in self._due(open_nodes, running, now):
                        running.add(node.id)
                        pool.submit(work, node)
                self.clock.wait(wake, self._pause(open_nodes, running, now, deadline))
            self._over.set()
            watcher.join()

    _over: threading.Event = field(default_factory=threading.Event, init=False)

    def _forward(self, wake: threading.Event) -> None:
        """Wakes the scheduler when somebody cancels."""
        while not self._over.is_set():
            if self.cancel.event.wait(0.1):
                wake.set()
                return

    def _due(self, nodes: Iterable[Node], running: set[ResourceId], now: float) -> list[Node]:
        busy = Counter(i.target for i in running)
        due: list[Node] = []
        for node in nodes:
            if node.id in running or node.due > now:
                continue
            if node.state is State.WAITING and not self._ready(node):
                continue
            if busy[node.id.target] >= self.drivers[node.id.target].capabilities.parallel:
                continue
            busy[node.id.target] += 1
            due.append(node)
        return due

    def _ready(self, node: Node) -> bool:
        needed = [self.nodes[i] for i in self._needs[node.id]]
        failed = [n for n in needed if n.final and n.state is not State.DONE]
        if failed:
            blocked = failed[0]
            node.reason, node.code = f"depends on {blocked.id}, which was {blocked.state.value}", "dependency"
            node.move(Signal.DEPENDENCY_FAILED, node.reason)
            return False
        return all(n.state is State.DONE for n in needed)

    def _pause(self, nodes: Sequence[Node], running: set[ResourceId], now: float, deadline: float | None) -> float:
        # A node that became final in `_due` may have freed or failed others: look again at once.
        if any(n.final for n in nodes):
            return 0.0
        waiting = [n.due for n in nodes if n.id not in running and n.state is not State.WAITING]
        until = [*waiting, *([deadline] if deadline is not None else [])]
        return max(0.0, min(until, default=now + IDLE_SECONDS) - now)

    def _stop(self, running: set[ResourceId]) -> None:
        for node in self.nodes.values():
            if node.final or node.id in running:
                continue
            node.reason, node.code = self.cancel.reason, "interrupted"
            node.move(Signal.CANCELLED, self.cancel.reason)
