"""Carrying out a plan: a graph in which a node is a change, run in bounded pools; one bad target blinds no other."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from itertools import count
from typing import Any

from reconciler.core.change import Action, Change
from reconciler.core.dataclass import dataclass, field, replace
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
# The longest pause between two looks while there are calls to make, where looking itself is faster than that.
BUSY_SECONDS = 10.0


class Looks:
    """Observations of a run, shared: many changes that wait for one target cost one look."""

    def __init__(self, drivers: Mapping[str, Driver], clock: Clock, known: Mapping[str, Sequence[ResourceId]]) -> None:
        self._drivers = drivers
        self._clock = clock
        self._known = known
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._last: dict[str, tuple[float, Observation]] = {}
        self._ended: dict[str, tuple[float, float]] = {}

    def worth(self, target: str, not_before: float, *, busy: bool) -> float:
        """When to ask for an observation: looking takes at most a third of the time, however many wait for it.

        Args:
            busy: There are calls to make: then a twentieth is enough, or one every ten seconds.
        """
        began, _ = self._last.get(target, (float("-inf"), None))
        if began >= not_before or target not in self._ended:
            return not_before
        ended, seconds = self._ended[target]
        return max(not_before, ended + max(2.0 * seconds, min(19.0 * seconds, BUSY_SECONDS) if busy else 0.0))

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
            ended = self._clock.monotonic()
            self._ended[target] = (ended, ended - began)
            return observation


@dataclass
class Apply:
    """One run over a plan's changes.

    Args:
        changes: Those that may run, in plan order; what they depend on and is not among them is there already.
        outputs: Of resources that are there, by id.
        keys: By service, to test with.
        moves: Services that say what they moved from -> the name they had before.
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
    workers: int = 16
    moves: Mapping[str, str] = field(default_factory=dict[str, str])
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
                self.moves,
            )
            self.nodes[change.id] = Node(change, around, self._prior(change))
        _Schedule(self, looks).run()
        return [node.result() for node in self.nodes.values()]

    def _prior(self, change: Change) -> Baseline | None:
        """What is recorded of a resource, be it under the name that it is to have no more."""
        if change.moved_from is not None and change.action is Action.UPDATE:
            former = self.baselines.get(change.moved_from)
            return replace(former, id=change.id, service=change.service) if former is not None else None
        return self.baselines.get(change.id)

    def _outputs(self, id_: ResourceId) -> Mapping[str, Any]:
        node = self.nodes.get(id_)
        if node is not None and node.answered is not None:
            return node.answered.outputs
        return self.outputs.get(id_, {})

    def needs(self) -> dict[ResourceId, set[ResourceId]]:
        """What each change waits for: creates and updates for what they need, deletes for what needed them.

        A service that moves to another target, or to another name, serves there before it goes here.
        """
        needs: dict[ResourceId, set[ResourceId]] = {id_: set() for id_ in self.nodes}
        arriving: dict[str, list[ResourceId]] = defaultdict(list)
        for node in self.nodes.values():
            if node.change.service and node.change.action not in (Action.DELETE, Action.FORGET):
                arriving[node.change.service].append(node.id)
        for node in self.nodes.values():
            if node.change.action is Action.DELETE:
                successor = node.change.successor
                new = arriving[successor or node.change.service]
                needs[node.id].update(i for i in new if successor or i.target != node.id.target)
            baseline = self.baselines.get(node.id)
            for other_id in {*node.change.depends_on, *(baseline.depends_on if baseline else ())}:
                other = self.nodes.get(other_id)
                if other is None:
                    continue
                if other.change.action is Action.DELETE:
                    needs[other.id].add(node.id)
                elif node.change.action is not Action.DELETE and other_id in node.change.depends_on:
                    needs[node.id].add(other.id)
        return needs


class _Schedule:
    """Which node is moved on next: those whose needs are met, oldest due first, within each target's limit."""

    def __init__(self, run: Apply, looks: Looks) -> None:
        self._run = run
        self._looks = looks
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._returned: list[Node] = []
        self._fatal: BaseException | None = None
        self._running: dict[str, int] = defaultdict(int)
        self._ready: dict[str, deque[Node]] = defaultdict(deque)
        # Those that wait for what they began: one look tells all of them, so one at a time asks for it.
        self._awaiting: dict[str, deque[Node]] = defaultdict(deque)
        self._looking: dict[str, Node] = {}
        self._timers: list[tuple[float, int, Node]] = []
        self._count = count()
        self._needs = run.needs()
        self._dependents: dict[ResourceId, list[ResourceId]] = defaultdict(list)
        for id_, needed in self._needs.items():
            for other in needed:
                self._dependents[other].append(id_)
        self._open = len(run.nodes)

    def run(self) -> None:
        """Moves every node to a final state."""
        run, clock = self._run, self._run.clock
        deadline = None if run.timeout is None else clock.monotonic() + run.timeout
        for node in run.nodes.values():
            if not self._needs[node.id]:
                self._ready[node.id.target].append(node)
        self._run.cancel.listen(self._wake)
        try:
            with ThreadPoolExecutor(run.workers, thread_name_prefix="apply") as pool:
                while self._going:
                    self._wake.clear()
                    self._collect()
                    now = clock.monotonic()
                    if deadline is not None and now >= deadline and not run.cancel.requested:
                        run.timed_out = True
                        run.cancel.request("out of time")
                    if run.cancel.requested:
                        self._stop()
                    else:
                        self._start(pool, now)
                    if self._going:
                        clock.wait(self._wake, self._pause(now, deadline))
        finally:
            self._run.cancel.ignore(self._wake)

    @property
    def _going(self) -> bool:
        return bool(self._open or self._looking or any(self._running.values()))

    def _work(self, node: Node) -> None:
        try:
            node.advance()
        except BaseException as exc:
            # `advance` raises only what must end the process; the scheduler's thread passes it on.
            self._fatal = exc
            raise
        finally:
            with self._lock:
                self._returned.append(node)
            self._wake.set()

    def _start(self, pool: ThreadPoolExecutor, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            node = heappop(self._timers)[2]
            if not node.awaiting:
                self._ready[node.id.target].append(node)
            elif (worth := self._looks.worth(target := node.id.target, node.due, busy=bool(self._ready[target]))) > now:
                heappush(self._timers, (worth, next(self._count), node))
            else:
                self._awaiting[node.id.target].append(node)
        for target, waiting in self._awaiting.items():
            if waiting and target not in self._looking:
                self._looking[target] = waiting.popleft()
                pool.submit(self._work, self._looking[target])
        for target, waiting in self._ready.items():
            limit = self._run.drivers[target].capabilities.parallel
            while waiting and self._running[target] < limit:
                self._running[target] += 1
                pool.submit(self._work, waiting.popleft())

    def _collect(self) -> None:
        """Takes back what workers returned: what is over frees or fails its dependents, the rest waits for its time."""
        if self._fatal is not None:
            raise self._fatal
        with self._lock:
            returned, self._returned = self._returned, []
        for node in returned:
            if self._looking.get(node.id.target) is node:
                del self._looking[node.id.target]
            else:
                self._running[node.id.target] -= 1
            if node.final:
                self._ended(node)
            else:
                heappush(self._timers, (node.due, next(self._count), node))

    def _ended(self, node: Node) -> None:
        ended = [node]
        while ended:
            one = ended.pop()
            self._open -= 1
            for id_ in self._dependents[one.id]:
                dependent = self._run.nodes[id_]
                if dependent.final:
                    continue
                if one.state is not State.DONE:
                    dependent.reason = f"depends on {one.id}, which was {one.state.value}"
                    dependent.code = "dependency"
                    dependent.move(Signal.DEPENDENCY_FAILED, dependent.reason)
                    ended.append(dependent)
                    continue
                self._needs[id_].discard(one.id)
                if not self._needs[id_]:
                    self._ready[id_.target].append(dependent)

    def _pause(self, now: float, deadline: float | None) -> float:
        until = self._timers[0][0] if self._timers else now + IDLE_SECONDS
        if deadline is not None:
            until = min(until, deadline)
        return max(0.0, until - now)

    def _stop(self) -> None:
        """Nothing new is begun; what a driver works on right now returns first."""
        queues = (*self._ready.values(), *self._awaiting.values())
        idle = [n for queue in queues for n in queue] + [n for _, _, n in self._timers]
        idle += [n for n in self._run.nodes.values() if n.state is State.WAITING and self._needs[n.id]]
        self._ready.clear()
        self._awaiting.clear()
        self._timers.clear()
        for node in idle:
            if not node.final:
                node.hand_over(self._run.cancel.reason)
                self._open -= 1
