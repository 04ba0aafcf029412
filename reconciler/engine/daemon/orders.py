"""What commands ask of a live daemon: each kind of request with what it does. The asking side is `engine.requests`."""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from reconciler.core.errors import (
    InvalidError,
    PlanChangedError,
    ReconcilerError,
    RefusedError,
    StaleError,
    UsageError,
)
from reconciler.core.resources import Health
from reconciler.core.reviewed import Reviewed, since
from reconciler.engine.approvals import approve, revoke
from reconciler.engine.clock import Cancel, Clock
from reconciler.engine.daemon.board import Board, TargetStatus
from reconciler.engine.daemon.inputs import Inputs
from reconciler.engine.daemon.telling import Telling
from reconciler.engine.destroy import destroy
from reconciler.engine.lifecycle import State
from reconciler.engine.outcome import ApplyOptions, Look, Outcome
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.store import Request, Store
from reconciler.engine.summary import summary_of

log = structlog.get_logger(__name__)

STAT_SECONDS = 0.1
LOOK_SECONDS = 1.0
# A request that waited longer than this for a daemon to start is not carried out by surprise.
OLDEST_SECONDS = 600.0
HEALTH_SECONDS = 600.0
# These take long and so have a thread of their own; the others are done in turn.
LONG = frozenset({"apply", "destroy", "reconcile"})


class Hands(Protocol):
    """What the orders need of the daemon."""

    store: Store
    clock: Clock
    board: Board

    def refresh(self) -> Inputs:
        """The newest revision, read now, secrets and rotations included.

        Raises:
            ReconcilerError: It cannot be read.
        """
        ...

    def wake(self, targets: Collection[str] | None, cause: str) -> frozenset[str]:
        """Wakes targets (None for all) after the newest revision was read; returns those woken."""
        ...

    def services(self) -> frozenset[str]:
        """Every service that Git or the record names."""
        ...

    def alone(self, cancel: Cancel, work: Callable[[Reconciler, Inputs], Outcome]) -> Outcome:
        """Runs work that concerns all targets, while nothing else runs; a newer commit cancels it."""
        ...


class Orders:
    """Takes requests from the store and carries them out.

    Args:
        wake_file: Touched by those who ask; without it, the store is looked at every second.
    """

    def __init__(self, hands: Hands, wake_file: Path | None = None) -> None:
        self._hands = hands
        self._store = hands.store
        self._wake_file = wake_file
        self._touched = _touched(wake_file)
        self._cancels: set[Cancel] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def settle(self) -> None:
        """At the start: what an earlier daemon had begun is answered, what waited too long is not carried out."""
        for request in self._store.requests("running"):
            self._fail(request, StaleError(f"the daemon stopped while it worked on this ({request.kind})"))
        now = self._hands.clock.now()
        for request in self._store.requests("queued"):
            if now - request.at > OLDEST_SECONDS:
                self._fail(request, StaleError(f"no daemon took this up within {OLDEST_SECONDS:.0f} s"))

    def work(self, stop: threading.Event) -> None:
        """A thread's work: carries requests out until told to stop."""
        looked = float("-inf")
        while not stop.is_set():
            now = self._hands.clock.monotonic()
            touched = _touched(self._wake_file)
            if touched != self._touched or now - looked >= LOOK_SECONDS:
                self._touched, looked = touched, now
                try:
                    for request in self._store.requests("queued"):
                        self._take(request)
                except StaleError:
                    return
                except ReconcilerError as exc:
                    log.error("requests cannot be read", error=exc.message)
            self._hands.clock.wait(stop, STAT_SECONDS)

    def stop(self, reason: str, seconds: float) -> list[str]:
        """Cancels what is under way; the names of those that do not end in time."""
        with self._lock:
            cancels, threads = tuple(self._cancels), tuple(self._threads)
        for cancel in cancels:
            cancel.request(reason)
        for thread in threads:
            thread.join(seconds / max(1, len(threads)))
        return [thread.name for thread in threads if thread.is_alive()]

    # One request

    def _take(self, request: Request) -> None:
        if not self._store.begin(request.seq):
            return
        log.info("request", seq=request.seq, kind=request.kind, by=str(request.data.get("by", "")))
        if request.kind in LONG:
            thread = threading.Thread(target=self._do, args=(request,), name=f"request {request.seq}", daemon=True)
            with self._lock:
                self._threads = [t for t in self._threads if t.is_alive()]
                self._threads.append(thread)
            thread.start()
        else:
            self._do(request)

    def _do(self, request: Request) -> None:
        cancel = Cancel()
        with self._lock:
            self._cancels.add(cancel)
        try:
            result = self._result(request, cancel)
            self._store.answer(request.seq, "done", result)
        except ReconcilerError as exc:
            self._fail(request, exc)
        except Exception as exc:
            # The one who asked gets an answer whatever happens here.
            log.exception("internal error", request=request.seq)
            self._fail(request, ReconcilerError(f"internal error: {type(exc).__name__}"))
        finally:
            with self._lock:
                self._cancels.discard(cancel)

    def _fail(self, request: Request, exc: ReconcilerError) -> None:
        problems = [str(p) for p in exc.problems] if isinstance(exc, InvalidError) else []
        message = "\n".join([exc.message, *problems])
        answer = {"message": message, "hint": exc.hint, "code": exc.code, "exitCode": exc.exit_code}
        log.warning("request failed", seq=request.seq, kind=request.kind, error=exc.message)
        try:
            self._store.answer(request.seq, "failed", answer)
        except StaleError:
            log.warning("lease lost before a request was answered", seq=request.seq)

    def _result(self, request: Request, cancel: Cancel) -> Mapping[str, Any]:
        data = request.data
        match request.kind:
            case "suspend":
                return self._suspend(_names(data), str(data.get("by", "")), str(data.get("reason", "")))
            case "resume":
                return self._resume(_names(data))
            case "rotate-key":
                return self._rotate(_name(data), str(data.get("slot", "primary")))
            case "approve":
                return self._approve(data)
            case "reconcile":
                return self._reconcile(data, cancel)
            case "apply":
                return self._apply(request, cancel)
            case "destroy":
                return self._destroy(request, cancel)
            case _:
                raise UsageError(f"the daemon takes no request '{request.kind}'", hint="is it of an older release?")

    # The kinds

    def _suspend(self, services: Collection[str], by: str, reason: str) -> Mapping[str, Any]:
        self._known(services)
        for service in services:
            self._store.suspend(service, by, reason)
        self._hands.wake(None, "suspended")
        return {"services": sorted(services)}

    def _known(self, services: Collection[str]) -> None:
        """A name that is not known here is a slip, and would have no effect."""
        known = self._hands.services()
        for service in services:
            if service not in known:
                near = difflib.get_close_matches(service, sorted(known), n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
                raise UsageError(f"there is no service '{service}'", hint=hint)

    def _resume(self, services: Collection[str]) -> Mapping[str, Any]:
        resumed = sorted(service for service in services if self._store.resume(service))
        self._hands.wake(None, "resumed")
        return {"services": resumed}

    def _rotate(self, service: str, slot: str) -> Mapping[str, Any]:
        if slot not in ("primary", "secondary"):
            raise UsageError(f"there is no key slot '{slot}'", hint="there are primary and secondary")
        self._known([service])
        counter = self._store.rotate(service, slot)
        self._hands.refresh()
        self._hands.wake(None, "key rotated")
        # The key itself stays out of the store: who may read the identity file can make it.
        return {"service": service, "slot": slot, "rotation": counter}

    def _approve(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        digest = str(data.get("digest", ""))
        if len(digest) != 64 or any(c not in "0123456789abcdef" for c in digest):
            raise UsageError("an approval names a plan's whole digest", hint="`reconciler plan` shows it")
        note = revoke if data.get("revoke") else approve
        note(self._store, digest, str(data.get("by", "")), self._hands.clock.now())
        self._hands.wake(None, "approved")
        return {"digest": digest}

    def _reconcile(self, data: Mapping[str, Any], cancel: Cancel) -> Mapping[str, Any]:
        began = self._hands.clock.monotonic()
        self._hands.refresh()
        scope = data.get("scope")
        woken = self._hands.wake(frozenset(map(str, scope)) if scope else None, "requested")
        limit = float(data.get("timeout") or HEALTH_SECONDS)

        def done(targets: Mapping[str, TargetStatus]) -> bool:
            ended = [t.completed for name, t in targets.items() if name in woken]
            return cancel.requested or all(at is not None and at >= began for at in ended)

        in_time = self._hands.board.wait(done, limit)
        last = {name: s.last for name, s in self._hands.board.snapshot().targets.items() if name in woken}
        outcomes = {name: record.outcome for name, record in last.items() if record is not None}
        return {"targets": dict(sorted(outcomes.items())), "timedOut": not in_time}

    def _apply(self, request: Request, cancel: Cancel) -> Mapping[str, Any]:
        data = request.data
        inputs = self._hands.refresh()
        environment, own = data.get("environment"), inputs.state.environment
        if environment is not None and environment != own:
            what = f"environment '{own}'" if own else "no environment"
            raise RefusedError(
                f"the daemon on this state is at work for {what}, so it applies no other",
                hint="leave --env out, or name another state directory",
            )
        if not inputs.state.whole and not data.get("partial"):
            raise InvalidError(
                "the manifests have errors, so nothing is applied",
                problems=inputs.state.problems,
                hint="correct them, or apply the rest with --partial",
            )
        timeout = data.get("timeout")
        options = ApplyOptions(
            partial=bool(data.get("partial")),
            allowed=frozenset(map(str, data.get("allowed") or ())),
            max_delete_percent=_percent(data.get("maxDelete")),
            timeout=float(timeout) if timeout is not None else None,
            wait=False,
            ignore_holds=bool(data.get("ignoreHolds")),
            by=str(data.get("by", "")),
            only=Reviewed.from_json(data["reviewed"]) if data.get("reviewed") else None,
        )
        telling = Telling(self._store, request.seq, self._hands.clock)

        def work(reconciler: Reconciler, inputs: Inputs) -> Outcome:
            sha = str(data.get("revision") or "")
            if sha and sha != inputs.tree.revision.sha:
                raise StaleError(
                    f"the plan is superseded: it is of {sha[:7]}, and the daemon is at {inputs.tree.revision.short}",
                    hint="make a new plan and look at it",
                )
            scope = data.get("scope")
            reconciler = reconciler.held_to(options.max_delete_percent)
            look = reconciler.look(
                frozenset(map(str, scope)) if scope else None, inputs.tree, holds=not options.ignore_holds
            )
            wanted = str(data.get("digest") or "")
            if wanted and look.plan.digest != wanted:
                raise StaleError(
                    f"the plan is out of date: it would now be {look.plan.digest[:12]}, not {wanted[:12]}",
                    hint="make a new plan and look at it",
                )
            if options.only is not None:
                _still_holds(options.only, look)
            if data.get("approve") and any(refusal.approvable for refusal in look.plan.refusals):
                digest = options.only.digest if options.only is not None else look.plan.digest
                approve(self._store, digest, options.by, self._hands.clock.now())
            if options.only is None:
                # What of it is in a saved plan, whoever asks has shown.
                telling.plan(look.plan)
            return reconciler.carry_out(look, options, telling, cancel)

        began = self._hands.clock.monotonic()
        outcome = self._hands.alone(cancel, work)
        summary = summary_of(outcome).to_json()
        if data.get("wait", True) and not cancel.requested and not outcome.timed_out:
            left = None if options.timeout is None else options.timeout - (self._hands.clock.monotonic() - began)
            unhealthy, late = self._await_health(outcome, left, cancel)
            summary["unhealthy"] = unhealthy
            summary["timed_out"] = late
            if summary["exit_code"] == 0 and (late or unhealthy):
                summary["exit_code"] = 15 if late else 16
        return telling.with_answer(summary)

    def _await_health(self, outcome: Outcome, left: float | None, cancel: Cancel) -> tuple[dict[str, str], bool]:
        """Waits, beside the daemon's own work, until what changed is healthy or never will be."""
        changed = {(r.id.target, r.service) for r in outcome.results if r.state is State.DONE and r.service and r.steps}
        board = self._hands.board
        since = self._hands.clock.monotonic()
        open_: dict[tuple[str, str], str] = {}
        bad: dict[str, str] = {}

        def settled(targets: Mapping[str, TargetStatus]) -> bool:
            open_.clear()
            bad.clear()
            for target, name in changed:
                status = targets.get(target)
                if status is None:
                    continue
                service = board.services(target).get(name)
                if status.completed is None or status.completed < since:
                    open_[target, name] = "not looked at since"
                elif service is None or service.health in (Health.HEALTHY, Health.SUSPENDED):
                    continue
                elif service.health is Health.DEGRADED:
                    bad[name] = service.reason or service.health.value
                else:
                    open_[target, name] = service.reason or service.health.value
            return cancel.requested or not open_

        in_time = board.wait(settled, HEALTH_SECONDS if left is None else max(0.0, left))
        late = {name: f"not healthy in the time given: {reason}" for (_, name), reason in open_.items()}
        return {**bad, **late}, not in_time

    def _destroy(self, request: Request, cancel: Cancel) -> Mapping[str, Any]:
        data = request.data
        services = None if data.get("all") else frozenset(_names(data))
        timeout = data.get("timeout")
        telling = Telling(self._store, request.seq, self._hands.clock)

        def work(reconciler: Reconciler, inputs: Inputs) -> Outcome:
            limit = float(timeout) if timeout is not None else None
            by = str(data.get("by", ""))
            return destroy(reconciler, services, telling, cancel, tree=inputs.tree, by=by, timeout=limit)

        return telling.with_answer(summary_of(self._hands.alone(cancel, work)).to_json())


def _touched(path: Path | None) -> int:
    if path is None:
        return 0
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116  ten times a second: the cheaper call
    except OSError:
        return 0


def _still_holds(reviewed: Reviewed, look: Look) -> None:
    """Whoever asks has compared already; this is the look that counts.

    Raises:
        PlanChangedError: Some action means something else by now.
    """
    found = since(reviewed, look.plan, look.situation.baselines)
    if not found.same:
        listed = [f"  {id_}" for id_ in (*found.vanished, *found.appeared, *found.changed)]
        message = "\n".join(["the plan is not the saved one any more; these have changed meanwhile:", *listed])
        raise PlanChangedError(message, hint="make a new plan and look at it")


def _percent(given: Any) -> float | None:
    return None if given is None else float(given)


def _names(data: Mapping[str, Any]) -> list[str]:
    names = [str(name) for name in data.get("services") or ()] or ([str(data["service"])] if "service" in data else [])
    if not names:
        raise UsageError("no service is named")
    return names


def _name(data: Mapping[str, Any]) -> str:
    return _names(data)[0]
