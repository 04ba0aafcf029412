"""What is written down of a run: history, holds, retention, what targets were applied from. No-ops write nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from reconciler.core.dataclass import replace
from reconciler.core.errors import StaleError
from reconciler.core.resources import ResourceId
from reconciler.core.situation import Hold, Origin
from reconciler.engine.lifecycle import State
from reconciler.engine.outcome import ApplyOptions, Look, Outcome
from reconciler.engine.progress import Result
from reconciler.engine.store import Attempt, Store

log = structlog.get_logger(__name__)

SERVICES = "services/"
ORIGIN = "origin/"


def after_run(
    store: Store,
    look: Look,
    results: Sequence[Result],
    own: frozenset[str] | None,
    now: float,
    backoff: Callable[[int], float],
) -> None:
    """What a run leaves in the record beyond the baselines: holds, retention, the services of this revision.

    Args:
        own: The targets whose changes this run carried out; None for all.
        now: Unix time in seconds.
        backoff: Seconds to hold a change that failed so many times.
    """
    for result in results:
        if result.state is State.FAILED and result.code not in ("conflict", "interrupted"):
            _, attempts = store.holds().get(result.id, (None, 0))
            until = now + backoff(attempts + 1)
            reason = result.reason.partition("\n")[0]
            store.put_hold(result.id, Hold(result.spec_digest, reason, until), attempts + 1)
    baselines = look.situation.baselines
    unused = [k.id for k in look.plan.kept if k.code == "retained" and (own is None or k.id.target in own)]
    stale = [replace(b, unused_since=now) for i in unused if (b := baselines.get(i)) and b.unused_since is None]
    store.put(*stale)
    if look.state.whole:
        _remember_services(store, look, own)


def remember_origin(store: Store, origin: Origin, results: Iterable[ResourceId]) -> None:
    """What the targets of a run were applied to from."""
    for target in {id_.target for id_ in results} if origin.repo else ():
        store.put_fact(ORIGIN + target, {"repo": origin.repo, "environment": origin.environment})


def recorded_origin(store: Store, target: str) -> Origin | None:
    """What a target was last applied to from; None if that is not known."""
    found = store.fact(ORIGIN + target)
    return Origin(str(found["repo"]), str(found["environment"])) if found else None


def _remember_services(store: Store, look: Look, own: frozenset[str] | None) -> None:
    """Which services a whole revision names, target by target: what the next one may then be said to take out.

    One that was taken out stays remembered until it is gone: a removal that failed, or had to wait for its target, is
    the same explicit removal when it is tried again.
    """
    named: dict[str, set[str]] = {name: set() for name in look.situation.observations if own is None or name in own}
    for desired in look.state.desired:
        if desired.service and desired.id.target in named:
            named[desired.id.target].add(desired.service)
    recorded: dict[str, set[str]] = {}
    for target, services in named.items():
        before = store.fact(SERVICES + target) or ()
        if not services.issuperset(before):
            recorded = recorded or _recorded(store)
            services |= recorded.get(target, set()).intersection(before)
        if services or before:
            store.put_fact(SERVICES + target, sorted(services))


def _recorded(store: Store) -> dict[str, set[str]]:
    """By target, the services of which something is recorded there."""
    found: dict[str, set[str]] = {}
    for id_, baseline in store.baselines().items():
        found.setdefault(id_.target, set()).add(baseline.service)
    return found


def record_run(
    store: Store, look: Look, outcome: Outcome, options: ApplyOptions, seconds: float, now: float, digest: str = ""
) -> None:
    """Adds a run to the history.

    Args:
        digest: Of the plan it began with, where others followed.

    Raises:
        StaleError: The lease was lost.
    """
    changes = [
        {
            "id": str(r.id),
            "action": r.action.value,
            "service": r.service,
            "state": r.state.value,
            "steps": [s.value for s in r.steps],
            "reason": r.reason,
            "seconds": r.seconds,
            **({"before": r.before} if r.before else {}),
        }
        for r in outcome.results
    ]
    data: dict[str, Any] = {
        "digest": digest or look.plan.digest,
        "subject": look.plan.revision.subject,
        "seconds": round(seconds, 3),
        "changes": changes,
        "by": options.by,
        "environment": look.plan.environment,
    }
    if outcome.unhealthy:
        data["unhealthy"] = dict(outcome.unhealthy)
    if outcome.refusals:
        data["refusals"] = [r.message for r in outcome.refusals]
    if outcome.lifted:
        data["lifted"] = [{"code": r.code, "message": r.message, "by": by} for r, by in outcome.lifted]
    try:
        store.record(Attempt(now, str(look.plan.revision), outcome.word, data))
    except StaleError:
        log.warning("lease lost before the run was recorded", revision=str(look.plan.revision))
        raise
