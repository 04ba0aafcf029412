"""How long carrying out a plan takes, from what drivers say of their targets: shown only where it is long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heapreplace

from reconciler.core.change import Change, Estimate, Step
from reconciler.core.dataclass import dataclass, field
from reconciler.core.driver import Capabilities
from reconciler.core.resources import ResourceId

LONG_SECONDS = 60.0


@dataclass(slots=True)
class _Course:
    """What happens at one target: its slots, and when it takes the next call."""

    capabilities: Capabilities
    slots: list[float] = field(init=False)
    next_call: float = 0.0
    calls: int = 0
    end: float = 0.0
    longest: tuple[float, str] = (0.0, "")

    def __post_init__(self) -> None:
        self.slots = [0.0] * max(1, self.capabilities.parallel)
        heapify(self.slots)

    def take(self, change: Change, ready: float) -> float:
        """Carries a change out that may begin at `ready`; when it ends."""
        rate = self.capabilities.calls_per_minute
        calls = sum(step is not Step.TEST for step in change.steps)
        start = max(ready, self.slots[0], self.next_call if rate else 0.0)
        seconds = _duration(self.capabilities, change)
        if rate:
            self.next_call = start + calls * 60.0 / rate
        end = start + seconds
        heapreplace(self.slots, end)
        self.calls += calls
        self.end = max(self.end, end, self.next_call)
        self.longest = max(self.longest, (seconds, f"{change.action.value} of a {change.id.kind}"))
        return end

    def why(self) -> str:
        """What makes it long."""
        rate = self.capabilities.calls_per_minute
        if rate and self.calls * 60.0 / rate >= self.end / 2:
            return f"it takes {rate:g} calls a minute, and this needs {self.calls:,}"
        seconds, what = self.longest
        return f"{what} takes about {_spoken(seconds)}"


def estimate(changes: Iterable[Change], capabilities: Mapping[str, Capabilities]) -> Estimate | None:
    """The estimate for changes in plan order, or None where nothing is known to take a minute.

    Each target has its slots and its rate, and a change begins when those it depends on have ended. What a driver says
    nothing about counts as quick.
    """
    known = {name: c for name, c in capabilities.items() if c.durations or c.calls_per_minute}
    if not known:
        return None
    courses: dict[str, _Course] = {}
    ends: dict[ResourceId, float] = {}
    for change in changes:
        if not change.writes:
            continue
        ready = max((ends.get(needed, 0.0) for needed in change.depends_on), default=0.0)
        target = change.id.target
        if target in known:
            course = courses.setdefault(target, _Course(known[target]))
            ready = course.take(change, ready)
        ends[change.id] = ready
    long = {name: (c.end, c.why()) for name, c in courses.items() if c.end >= LONG_SECONDS}
    if not long:
        return None
    ordered = dict(sorted(long.items(), key=lambda item: (-item[1][0], item[0])))
    return Estimate(max(course.end for course in courses.values()), ordered)


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120.0 else f"{seconds:.0f} s"


def _duration(capabilities: Capabilities, change: Change) -> float:
    kind = change.id.kind
    return capabilities.durations.get(f"{kind}:{change.action.value}", capabilities.durations.get(kind, 0.0))
