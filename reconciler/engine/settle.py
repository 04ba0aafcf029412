"""Waiting: for an earlier operation to end before there is anything to do, and for what was applied to be healthy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from reconciler.core.change import Action, Step
from reconciler.core.driver import Driver
from reconciler.core.resources import Health, Observation
from reconciler.engine.clock import Cancel, Clock
from reconciler.engine.lifecycle import State
from reconciler.engine.observing import Observer
from reconciler.engine.outcome import Look
from reconciler.engine.progress import Progress, ProgressEvent, Result

HEALTH_POLL_SECONDS = 0.25
PATIENCE_SECONDS = 600.0


def until_free(
    look: Look,
    look_again: Callable[[], Look],
    stopped: Collection[str],
    clock: Clock,
    timeout: float | None,
    cancel: Cancel,
    progress: Progress,
) -> Look | None:
    """Waits for operations that an earlier run began, or somebody else, and that keep changes from being made.

    Args:
        look_again: Looks at everything; at most a third of the time is spent in it.
        stopped: Targets of which a rail stops everything: nothing there is worth waiting for.
        timeout: Seconds; None for ten minutes.

    Returns:
        A look in which one of them has ended; None if there is none to wait for, or it has not ended in time.
    """
    busy = {id_ for id_ in look.plan.busy if id_.target not in stopped}
    if timeout is not None and timeout <= 0.0:
        return None
    for id_ in sorted(busy):
        text = "until an earlier operation on it has ended"
        progress(ProgressEvent(id_, Action.NOOP, Step.APPLY, State.WAITING, text))
    limit = clock.monotonic() + (timeout if timeout is not None else PATIENCE_SECONDS)
    pause = HEALTH_POLL_SECONDS
    while busy and clock.monotonic() < limit and not clock.wait(cancel.event, pause):
        began = clock.monotonic()
        look = look_again()
        if not busy <= look.plan.busy:
            return look
        pause = max(HEALTH_POLL_SECONDS, 2.0 * (clock.monotonic() - began))
    return None


def until_healthy(
    observer: Observer,
    drivers: Mapping[str, Driver],
    results: Iterable[Result],
    clock: Clock,
    timeout: float | None,
    cancel: Cancel,
    progress: Progress,
) -> tuple[dict[str, str], bool]:
    """Waits for the changed resources to be healthy; what never will be ends its own wait.

    Args:
        timeout: Seconds; None for ten minutes.

    Returns:
        The services that are not healthy, with the reason, and whether time ran out.
    """
    waiting = {
        r.id: r
        for r in results
        if r.state is State.DONE and r.action not in (Action.DELETE, Action.FORGET) and r.id.target in drivers
    }
    unhealthy: dict[str, str] = {}
    told: set[str] = set()
    limit = clock.monotonic() + (timeout if timeout is not None else PATIENCE_SECONDS)
    while waiting:
        for target in {i.target for i in waiting}:
            observation = observer.one(drivers[target], [i for i in waiting if i.target == target])
            for id_ in [i for i in waiting if i.target == target]:
                verdict = _verdict(observation, waiting[id_])
                if verdict is None:
                    continue
                result = waiting.pop(id_)
                if verdict:
                    unhealthy[result.service or str(id_)] = verdict
        if not waiting:
            break
        if clock.monotonic() >= limit:
            late = {r.service or str(i): "not healthy in the time given" for i, r in waiting.items()}
            return {**unhealthy, **late}, True
        for id_, result in waiting.items():
            if result.steps and str(id_) not in told:
                told.add(str(id_))
                progress(ProgressEvent(id_, result.action, result.steps[-1], State.DONE, "waiting for health"))
        if clock.wait(cancel.event, HEALTH_POLL_SECONDS):
            break
    return unhealthy, False


def _verdict(observation: Observation, result: Result) -> str | None:
    """Empty if healthy, a reason if it will not become so by itself, None if it may."""
    observed = observation.resources.get(result.id)
    if observed is None:
        return "it is gone" if observation.complete else None
    if observed.mark is not None and result.spec_digest and observed.mark.spec_digest != result.spec_digest:
        return None
    if observed.health in (Health.HEALTHY, Health.SUSPENDED):
        return ""
    return (observed.reason or observed.health.value) if observed.health is Health.DEGRADED else None
