"""`reconciler run`: keeps targets as Git wants them until it is told to stop.

Triggers wake keys of the queue; this loop gives keys that are due a thread each. The key `*` reads the newest revision
and wakes the targets; a target's key reconciles that target. Signals, requests and the lease's loss end up here too.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from reconciler.core.dataclass import dataclass, replace
from reconciler.core.driver import Driver
from reconciler.core.errors import InvalidError, ReconcilerError, StaleError
from reconciler.engine.clock import Cancel, Clock, SystemClock
from reconciler.engine.daemon.announcing import Announcer
from reconciler.engine.daemon.board import Board, Observer
from reconciler.engine.daemon.inputs import Inputs, concerns, load_inputs, targets_of, tell_revision
from reconciler.engine.daemon.notify import Notifier
from reconciler.engine.daemon.orders import Orders
from reconciler.engine.daemon.parts import Parts, Serve, Server
from reconciler.engine.daemon.published import Published
from reconciler.engine.daemon.queue import SOURCE, Queue, Work
from reconciler.engine.daemon.signals import Ending, Signals
from reconciler.engine.daemon.standby import Election
from reconciler.engine.daemon.triggers import POLL, WATCH, EventBook, EventThreads, Threads, polling, watching
from reconciler.engine.daemon.worker import Run, TargetWorker
from reconciler.engine.outcome import Outcome
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.store import DAEMON, Attempt, Lease, Store

log = structlog.get_logger(__name__)

# The loop looks up at least so often: for the lease, slow runs, and systemd's watchdog.
TICK_SECONDS = 1.0
# How long an exclusive request waits for the runs under way to stop at their next step.
STAND_ASIDE_SECONDS = 120.0
# Not a key of the queue: what a command asked for, which concerns all targets.
ALONE = "!"
LIGHT = frozenset({WATCH, POLL})
HARD = 130


def _always() -> None:
    """Nothing but the lease of the state says who may write."""


@dataclass(slots=True)
class _Running:
    cancel: Cancel
    inputs: Inputs
    started: float
    work: Work | None = None


class Daemon:
    """One installation's daemon.

    Args:
        parts: What settings determine.
        serve: Starts the web server; None for none.
        reload: Makes the parts anew, for SIGHUP; raises ReconcilerError where the settings cannot be used.
        wake_file: Touched by commands that queue a request (`<state>/wake`).
        observers: Told of every finished reconcile (metrics).
        election: What made this the one replica that applies, and says whether it still is; None where it is alone.
        signals: Whether to handle SIGTERM, SIGINT and SIGHUP; only possible in the main thread.
        jitter: A random number in [0, 1) for each call.
        new_id: A short id for each reconcile.
        hard_exit: Ends the process at once; for a second signal, and for driver calls that outlast the grace time.
    """

    def __init__(
        self,
        parts: Parts,
        store: Store,
        clock: Clock | None = None,
        *,
        serve: Serve | None = None,
        reload: Callable[[], Parts] | None = None,
        wake_file: Path | None = None,
        observers: Iterable[Observer] = (),
        election: Election | None = None,
        signals: bool = True,
        jitter: Callable[[], float] = lambda: secrets.randbelow(1000) / 1000.0,
        new_id: Callable[[], str] = lambda: secrets.token_hex(4),
        hard_exit: Callable[[int], None] = os._exit,
    ) -> None:
        self.store = store
        self.clock: Clock = clock or SystemClock()
        self._parts = parts
        self._serve = serve
        self._election = election
        self._reload = reload
        self._jitter = jitter
        self._new_id = new_id
        self._hard_exit = hard_exit
        self._handle_signals = signals
        self._wake = threading.Event()
        self._queue = Queue(parts.options.pace, lambda: 1.0 + 0.2 * jitter(), self._wake.set)
        self.board = Board(
            parts.reconciler.installation,
            self.clock.monotonic,
            lambda: self._queue.depth(self.clock.monotonic()),
            observers,
        )
        self.published = Published(self.board, self.clock, lambda: self._parts.publish)
        self._notifier = Notifier()
        self._orders = Orders(self, wake_file)
        self._events = EventThreads(self._happened, self.clock)
        self._book = EventBook()
        self._triggers = Threads()
        self._standing = Threads()
        self._lock = threading.RLock()
        self._loading = threading.Lock()
        self._alone = threading.Lock()
        self._inputs: Inputs | None = None
        self._workers: dict[str, TargetWorker] = {}
        self._running: dict[str, _Running] = {}
        self._awaited: dict[str, frozenset[str]] = {}
        self._retired: list[Parts] = []
        self._ending: Ending | None = None
        self._lease: Lease | None = None
        self._source_error = ""

    # Life

    def run(self) -> int:
        """Works until told to stop.

        Returns:
            The exit code: 0 after SIGTERM, 130 after SIGINT, 14 when the lease was lost, 15 when driver calls did not
            end within the grace time.

        Raises:
            StaleError: Somebody else is at work on this state.
            InvalidError: The address of the web server cannot be had.
        """
        holder = self.store.holder()
        if holder is not None and holder.of_daemon and self._election is not None:
            # Whoever was elected before may write no more: it need not be waited for, as somebody's own apply is.
            self._election.check()
            self.store.end_lease(holder.fence, "the replica that leads now")
            holder = None
        if holder is not None:
            raise StaleError(
                f"another writer is at work on this state: {holder.describe()}"
                + (f", listening on {holder.address}" if holder.address else ""),
                hint="stop it first, or give this one another state directory",
            )
        server = self._serve(self.board, self._parts.options, self.published) if self._serve is not None else None
        try:
            address = server.address if server is not None else ""
            allowed = self._election.check if self._election is not None else _always
            with self.store.writing(DAEMON, address, allowed) as lease, Signals(self, self._handle_signals):
                self._lease = lease
                return self._work(address, server)
        finally:
            if server is not None:
                server.close()

    def _work(self, address: str, server: Server | None) -> int:
        log.info(
            "daemon started", pid=os.getpid(), installation=self._parts.reconciler.installation, address=address or None
        )
        self._orders.settle()
        self._start_triggers()
        self._standing.start("requests", self._orders.work)
        self._standing.start("snapshot", self._keep_snapshot)
        self._queue.wake(SOURCE, "start", self.clock.monotonic())
        self._notifier.tell("READY=1")
        try:
            self._loop()
        except BaseException:
            self.end(Ending("internal error", 1))
            raise
        finally:
            stuck = self._stop()
        ending = self._ending or Ending("done", 0)
        log.info("daemon stopped", reason=ending.reason, exit_code=15 if stuck else ending.code, stuck=stuck or None)
        if stuck:
            # Threads inside a driver would keep the process alive; what they write next is ours by its intent.
            if server is not None:
                server.close()
            if self._lease is not None:
                self._lease.release()
            self._hard_exit(15)
            return 15
        return ending.code

    def end(self, ending: Ending) -> None:
        """Asks the daemon to stop; asked again while it does, it stops at once."""
        with self._lock:
            first = self._ending is None
            if first:
                self._ending = ending
        if first:
            log.info("stopping", reason=ending.reason)
            self._wake.set()
        elif ending.impatient:
            log.warning("stopping at once", reason=ending.reason)
            self._hard_exit(HARD)

    def reload(self) -> None:
        """Makes the parts anew from the settings; bad settings change nothing."""
        if self._reload is None:
            log.warning("reload not possible", error="this daemon was started without a way to reload")
            return
        self._notifier.tell("RELOADING=1")
        try:
            parts = self._reload()
        except ReconcilerError as exc:
            problems = [str(p) for p in exc.problems] if isinstance(exc, InvalidError) else []
            log.error("reload failed", error=exc.message, hint=exc.hint, problems=problems)
            self._notifier.tell("READY=1")
            return
        with self._loading, self._lock:
            self._retired.append(self._parts)
            self._parts = parts
            self._workers.clear()
            self._inputs = None
            triggers, self._triggers = self._triggers, Threads()
        triggers.stop.set()
        self._start_triggers()
        log.info("settings reloaded")
        self._notifier.tell("READY=1")
        self._queue.wake(SOURCE, "reloaded", self.clock.monotonic(), urgent=True)

    def _start_triggers(self) -> None:
        parts = self._parts

        def wake(cause: str) -> None:
            self._queue.wake(SOURCE, cause, self.clock.monotonic(), urgent=True)

        for number, watch in enumerate(parts.watches, 1):
            self._triggers.start(f"watch {number}", watching(watch, wake, self.clock))
        if parts.poll is not None:
            self._triggers.start("poll", polling(parts.poll, wake, self.clock, self._jitter))
        if parts.announcement is not None:
            self._triggers.start("forge", Announcer(parts.announcement, self.board, self.store, self.clock).work)

    def _keep_snapshot(self, stop: threading.Event) -> None:
        self.published.write_to(lambda: self._parts.options.snapshot_file, stop)

    def _loop(self) -> None:
        watchdog = self._notifier.watchdog_seconds
        fed = float("-inf")
        while self._ending is None:
            self._wake.clear()
            now = self.clock.monotonic()
            if self._lease is not None and not self._lease.held:
                self._lost()
                return
            with self._lock:
                options = self._parts.options
                busy = sum(now - run.started < options.slow_seconds for run in self._running.values())
            room = max(0, options.workers - busy)
            for work in self._queue.take(now, room):
                self._start(work)
                room -= 1
            if watchdog and now - fed >= watchdog and not self.board.snapshot().silent(self._limit()):
                self._notifier.tell("WATCHDOG=1")
                fed = now
            due = self._queue.next_due()
            # Without room, the end of a run wakes this loop, or a slow one gives its place back.
            pause = min(TICK_SECONDS, due - self.clock.monotonic()) if due is not None and room else TICK_SECONDS
            self.clock.wait(self._wake, max(pause, 0.0))

    def _limit(self) -> float:
        return self._parts.options.silence_seconds

    def _lost(self) -> None:
        reason = "another writer took over this state"
        try:
            if self._election is not None:
                self._election.check()
        except StaleError as exc:
            reason = exc.message
        self.end(Ending(reason, StaleError.exit_code))

    def _stop(self) -> list[str]:
        """Ends everything within the grace time; the names of what did not end."""
        self._notifier.tell("STOPPING=1")
        self.board.stopping()
        limit = self.clock.monotonic() + self._parts.options.grace_seconds
        reason = "stopping"
        self._triggers.stop.set()
        with self._lock:
            for run in self._running.values():
                run.cancel.request(reason)

        def left() -> float:
            return max(0.0, limit - self.clock.monotonic())

        stuck = self._orders.stop(reason, left())
        keys = self._queue.keys()
        if not self._queue.idle(keys, left()):
            with self._lock:
                stuck += sorted(f"target {key}" for key in self._running)
        self._standing.end(min(left(), 5.0))
        self._events.end(min(left(), 1.0))
        self._triggers.end(min(left(), 1.0))
        if not stuck:
            for parts in (*self._retired, self._parts):
                parts.close()
        return stuck

    # Runs

    def _start(self, work: Work) -> None:
        target = self._read if work.key == SOURCE else self._reconcile
        threading.Thread(target=self._guarded, args=(target, work), name=f"run {work.key}", daemon=True).start()

    def _guarded(self, target: Callable[[Work], None], work: Work) -> None:
        try:
            target(work)
        except StaleError:
            self._lost()
            self._queue.done(work.key, self.clock.monotonic())
        except Exception:
            log.exception("internal error", key=work.key)
            self._queue.done(work.key, self.clock.monotonic(), failed=True)
        finally:
            with self._lock:
                # The queue may have let the next run of this key in already.
                if work.key in self._running and self._running[work.key].work is work:
                    del self._running[work.key]
            self._close_retired()

    def _close_retired(self) -> None:
        """Parts that were replaced are closed when the last run that uses them has ended."""
        with self._lock:
            retired: list[Parts] = []
            if not self._running:
                retired, self._retired = self._retired, retired
        for parts in retired:
            parts.close()

    # The source

    def _read(self, work: Work) -> None:
        light = set(work.causes) <= LIGHT
        try:
            changed = self._load(anew=not light)
        except StaleError:
            raise
        except ReconcilerError as exc:
            self._tell_source(exc)
            self.board.source_failed(exc.message)
            self._queue.done(SOURCE, self.clock.monotonic(), failed=True)
            # The last good revision stands, and its targets are still looked at.
            if not light and self._inputs is not None:
                self._wake_targets(None, work.causes[0], urgent=False)
            return
        self._source_error = ""
        now = self.clock.monotonic()
        self._queue.done(SOURCE, now)
        if not light:
            seconds = self._parts.options.full_look_seconds * (1.0 + 0.1 * self._jitter())
            self._queue.later(SOURCE, "full look", now + seconds)
        if changed or not light:
            self._wake_targets(None, "new revision" if changed else work.causes[0], urgent=changed, since=work.woken_at)

    def _tell_source(self, exc: ReconcilerError) -> None:
        if self._source_error != exc.message:
            log.error("source failed", error=exc.message, hint=exc.hint)
            self._source_error = exc.message

    def _load(self, *, anew: bool) -> bool:
        """Reads the newest revision, and stops running work that it changes; whether it is another one."""
        with self._loading:
            before = self._inputs
            inputs = load_inputs(self._parts.reconciler, before, anew=anew)
            if inputs is before:
                return False
            changed = before is None or before.tree.revision != inputs.tree.revision
            with self._lock:
                self._inputs = inputs
            state = inputs.state
            targets = targets_of(self._parts.reconciler, state)
            revision = str(inputs.tree.revision)
            self.board.loaded(revision, state.problems, targets, state.environment)
            for gone in self._queue.keys() - targets - {SOURCE}:
                self._queue.drop(gone)
            if changed:
                tell_revision(inputs)
            self._pre_empt(inputs)
            self._events.watch(self._drivers(targets))
            return changed

    def _pre_empt(self, inputs: Inputs) -> None:
        """A newer commit stops the waiting of those runs whose target it changes."""
        reason = f"superseded by {inputs.tree.revision.short}"
        with self._lock:
            running = dict(self._running)
        for key, run in running.items():
            everything = key == ALONE
            targets = [d.id.target for d in (*run.inputs.state.desired, *inputs.state.desired)] if everything else [key]
            if any(concerns(target, run.inputs.state, inputs.state) for target in dict.fromkeys(targets)):
                run.cancel.request(reason)

    def _drivers(self, targets: Collection[str]) -> Mapping[str, Driver]:
        reconciler, inputs = self._parts.reconciler, self._inputs
        named = {**self.store.targets(), **(inputs.state.targets if inputs is not None else {})}
        found, _ = reconciler.drivers({name: target for name, target in named.items() if name in targets})
        return {**{driver.target: driver for driver in reconciler.registries}, **found}

    def _wake_targets(
        self, only: Collection[str] | None, cause: str, *, urgent: bool, since: float | None = None
    ) -> frozenset[str]:
        at = since if since is not None else self.clock.monotonic()
        known = frozenset(self.board.snapshot().targets)
        keys = known if only is None else known & frozenset(only)
        for key in sorted(keys):
            self._queue.wake(key, cause, at, urgent=urgent)
        return keys

    # Targets

    def _reconcile(self, work: Work) -> None:
        key = work.key
        cancel = Cancel()
        with self._lock:
            inputs = self._inputs
            worker = self._worker(key)
            if inputs is not None:
                self._running[key] = _Running(cancel, inputs, self.clock.monotonic(), work)
            if self._ending is not None:
                cancel.request("stopping")
        if inputs is None or cancel.requested:
            self._queue.done(key, self.clock.monotonic())
            return
        self.board.began(key)
        run = worker.run(work, inputs, cancel, self._new_id())
        tell = log.info if run.record.good else log.warning
        tell("reconcile", **run.record.fields())
        self._after(key, run)

    def _worker(self, key: str) -> TargetWorker:
        worker = self._workers.get(key)
        if worker is None:
            worker = TargetWorker(key, self._parts.reconciler, lambda: self.board.alive(key))
            self._workers[key] = worker
        return worker

    def _after(self, key: str, run: Run) -> None:
        self.board.ended(run.record, run.report, run.seen)
        now = self.clock.monotonic()
        pause = self._queue.done(key, now, failed=run.again.unreachable)
        if pause:
            log.info("backing off", target=key, seconds=round(pause, 1))
        elif run.again.after is not None:
            self._queue.later(key, run.again.cause, now + run.again.after)
        else:
            self._queue.later(key, "", None)
        with self._lock:
            self._awaited[key] = run.awaited
            waiting = [other for other, awaited in self._awaited.items() if key in awaited and other != key]
        if run.changed:
            for other in waiting:
                self._queue.wake(other, f"{key} went on", now)

    # Events

    def _happened(self, target: str, text: str) -> None:
        now = self.clock.monotonic()
        self._queue.wake(target, f"event: {text}"[:200], now)
        with self._lock:
            worth = self._book.worth_telling(target, text, now)
            revision = str(self._inputs.tree.revision) if self._inputs is not None else ""
        if worth or logging.getLogger(__name__).isEnabledFor(logging.DEBUG):
            (log.info if worth else log.debug)("target event", target=target, text=text)
        if worth:
            # The hint woke the key already; a record that cannot be written must not end the watching.
            with suppress(ReconcilerError):
                self.store.record(Attempt(self.clock.now(), revision, "event", {"target": target, "text": text}))

    # For requests (`orders.Hands`)

    def refresh(self) -> Inputs:
        """The newest revision, read now, secrets and rotations included.

        Raises:
            ReconcilerError: It cannot be read.
        """
        if self._load(anew=True):
            self._wake_targets(None, "new revision", urgent=True)
        inputs = self._inputs
        if inputs is None:
            raise StaleError("the settings were reloaded meanwhile", hint="run the command again")
        return inputs

    def services(self) -> frozenset[str]:
        """Every service that Git or the record names."""
        recorded = {b.service for b in self.store.baselines().values() if b.service}
        return frozenset(recorded) | (self._inputs.state.services if self._inputs is not None else frozenset[str]())

    def wake(self, targets: Collection[str] | None, cause: str) -> frozenset[str]:
        """Wakes targets (None for all), open breakers and all; returns those woken."""
        return self._wake_targets(targets, cause, urgent=True)

    def alone(self, cancel: Cancel, work: Callable[[Reconciler, Inputs], Outcome]) -> Outcome:
        """Runs work that concerns all targets, while nothing else runs; a newer commit cancels it.

        Raises:
            StaleError: Runs under way did not stop in time.
        """
        with self._alone:
            # Targets of a first commit are known before they are woken for the first time.
            keys = (self._queue.keys() | frozenset(self.board.snapshot().targets)) - {SOURCE}
            self._queue.reserve(keys)
            try:
                with self._lock:
                    for run in self._running.values():
                        run.cancel.request("a command asked for all targets")
                if not self._queue.idle(keys, STAND_ASIDE_SECONDS):
                    raise StaleError(
                        f"work under way did not stop within {STAND_ASIDE_SECONDS:.0f} s",
                        hint="`reconciler status` shows what it is",
                    )
                with self._lock:
                    inputs = self._inputs
                    if inputs is None or self._ending is not None:
                        raise StaleError("the daemon is stopping", hint="run the command again")
                    self._running[ALONE] = _Running(cancel, inputs, self.clock.monotonic())
                with structlog.contextvars.bound_contextvars(reconcile=self._new_id()):
                    return work(replace(self._parts.reconciler, states=inputs), inputs)
            except StaleError:
                if self._lease is not None and self._lease.lost.is_set():
                    self._lost()
                raise
            finally:
                with self._lock:
                    self._running.pop(ALONE, None)
                self._queue.release(keys)
                self._wake_targets(None, "after a command", urgent=True)
