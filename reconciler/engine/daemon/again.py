"""When a target is looked at again after a run: pure, from how the run ended."""

from __future__ import annotations

from collections.abc import Collection

from reconciler.core.dataclass import dataclass
from reconciler.core.resources import Completeness, Health, Observation
from reconciler.engine.lifecycle import State
from reconciler.engine.progress import Result

VERIFY_SECONDS = 0.25
LONGEST_VERIFY_SECONDS = 60.0
FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 10.0
PARTLY_SEEN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Again:
    """When to look again.

    Args:
        after: Seconds from now; None leaves it to events and to the next full look.
        cause: In words.
        unreachable: The target could not be seen at all: its breaker opens.
    """

    after: float | None = None
    cause: str = ""
    unreachable: bool = False


def look_again(
    observation: Observation | None,
    results: Collection[Result],
    holds: Collection[float],
    now: float,
    polls: int = 0,
    streak: int = 0,
) -> Again:
    """The earliest reason to look again.

    Args:
        observation: Of the target, as the run's plan saw it.
        results: Of the run.
        holds: Unix times at which failed changes of this target may be tried again.
        now: Unix time.
        polls: How many looks in a row found something going on.
        streak: How many runs in a row, this one excepted, changed something: with somebody who undoes our changes
            we do not race.
    """
    if observation is None or observation.completeness is Completeness.UNAVAILABLE:
        return Again(unreachable=True)
    reasons: list[tuple[float, str]] = []
    if any(r.state is State.DONE for r in results):
        reasons.append((min(VERIFY_SECONDS * 2.0 ** min(streak, 20), LONGEST_VERIFY_SECONDS), "verifying"))
    if going_on(observation) or any(r.state is State.FAILED and r.code == "conflict" for r in results):
        reasons.append((poll_seconds(polls), "work in progress"))
    if not observation.complete:
        reasons.append((PARTLY_SEEN_SECONDS, "only partly seen"))
    waiting = [until - now for until in holds if until > now]
    if waiting:
        reasons.append((min(waiting), "a failed change may be tried again"))
    if not reasons:
        return Again()
    after, cause = min(reasons)
    return Again(after, cause)


def poll_seconds(polls: int) -> float:
    """Seconds until the next look at something that is going on: growing, so that slow work costs little."""
    return min(FIRST_POLL_SECONDS * 1.5 ** min(polls, 20), LONGEST_POLL_SECONDS)


def going_on(observation: Observation) -> bool:
    """Whether something at the target is about to become something else."""
    return any(
        o.busy or o.health is Health.PROGRESSING or (o.staged is not None and o.staged.health is Health.PROGRESSING)
        for o in observation.resources.values()
    )
