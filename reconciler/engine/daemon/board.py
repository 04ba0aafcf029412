"""What the daemon tells about itself: the last reconcile of every target, and the report put together from them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from reconciler.core.dataclass import dataclass, field, replace
from reconciler.core.problems import Problem
from reconciler.core.report import Report, ServiceReport
from reconciler.core.situation import Situation


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One finished reconcile: what its canonical log line says.

    Args:
        id: Bound to every log line of the reconcile.
        target: The target (a registry counts as one).
        causes: Why it ran.
        outcome: `in sync`, `applied`, `partly`, `failed`, `refused`, `interrupted`, `waiting` (for its time, for
            another target or for somebody's approval), `unavailable`, `error`.
        seconds: From its beginning to its end.
        queued: Seconds from the wake to the beginning.
        at: Unix time of its end, in seconds.
        changes: Count of changes carried out, by action; those that failed count under `failed`.
        drift: How many resources differ from how they were left; healed: of how many this reconcile took it back;
            reported: how many stay as they are, since their policies say so.
        health: Count of services by health.
        errors: Count of failures by the error's code.
        reason: Of an outcome that is not a good one.
    """

    id: str
    target: str
    causes: tuple[str, ...]
    revision: str
    outcome: str
    seconds: float
    queued: float
    at: float
    changes: Mapping[str, int] = field(default_factory=dict[str, int])
    drift: int = 0
    healed: int = 0
    reported: int = 0
    health: Mapping[str, int] = field(default_factory=dict[str, int])
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    refused: int = 0
    blocked: int = 0
    reason: str = ""

    @property
    def good(self) -> bool:
        """Nothing stands between the target and what Git wants but time."""
        return self.outcome in ("in sync", "applied", "waiting")

    def fields(self) -> dict[str, Any]:
        """For the canonical line; what is empty is left out."""
        data: dict[str, Any] = {
            "id": self.id,
            "target": self.target,
            "revision": self.revision,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 4),
            "queued": round(self.queued, 4),
            "cause": ", ".join(self.causes),
            "changes": dict(self.changes),
            "drift": self.drift,
            "healed": self.healed,
            "reported": self.reported,
            "health": dict(self.health),
            "errors": dict(self.errors),
            "refused": self.refused,
            "blocked": self.blocked,
            "reason": self.reason,
        }
        kept = ("id", "target", "revision", "outcome", "seconds", "queued", "drift", "changes", "health")
        return {k: v for k, v in data.items() if v or k in kept}


Observer: TypeAlias = Callable[[Reconciled], None]


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How a target is doing; monotonic times in seconds.

    Args:
        since: When it was first known.
        last: Its last completed reconcile.
        last_good: Unix time at which one last ended well.
        completed: When its last reconcile was completed.
        running_since: When the present one began; None if none runs.
        life: Last sign of life: a completed reconcile, or progress of the present one.
    """

    since: float
    last: Reconciled | None = None
    last_good: float | None = None
    completed: float | None = None
    running_since: float | None = None
    life: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment.

    Args:
        standby: Who applies in place of this replica; empty where it does so itself.
    """

    now: float
    installation: str
    revision: str
    source_error: str
    loaded: bool
    stopping: bool
    targets: Mapping[str, TargetStatus]
    report: Report
    problems: tuple[Problem, ...]
    queue_depth: int
    standby: str = ""

    @property
    def ready(self) -> bool:
        """A revision is loaded and every target has been reconciled at least once; or this replica only stands by."""
        if self.standby:
            return not self.stopping
        done = all(status.last is not None for status in self.targets.values())
        return self.loaded and done and not self.stopping

    def silent(self, limit: float) -> dict[str, float]:
        """Targets that gave no sign of life for longer than `limit` seconds, with their silence."""
        ages = {name: self.now - max(status.life, status.since) for name, status in self.targets.items()}
        return {name: age for name, age in ages.items() if age > limit}


class Board:
    """Where the daemon writes and others (the web server, commands) read. Safe to use from many threads.

    Args:
        monotonic: The clock's.
        depth: How many keys are due.
        observers: Told of every finished reconcile.
    """

    def __init__(
        self,
        installation: str,
        monotonic: Callable[[], float],
        depth: Callable[[], int] = lambda: 0,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._monotonic = monotonic
        self._depth = depth
        self._observers = tuple(observers)
        self._changed = threading.Condition()
        self._installation = installation
        self._revision = ""
        self._environment = ""
        self._source_error = ""
        self._loaded = False
        self._stopping = False
        self._standby = ""
        self._problems: tuple[Problem, ...] = ()
        self._version = 0
        self._targets: dict[str, TargetStatus] = {}
        self._reports: dict[str, Report] = {}
        self._seen: dict[str, Situation] = {}

    # Writing

    def loaded(
        self, revision: str, problems: tuple[Problem, ...], targets: Iterable[str], environment: str = ""
    ) -> None:
        """A revision was loaded; targets that are no more are forgotten."""
        now = self._monotonic()
        with self._changed:
            self._revision, self._problems, self._loaded, self._source_error = revision, problems, True, ""
            self._environment = environment
            self._targets = {name: self._targets.get(name, TargetStatus(now, life=now)) for name in targets}
            self._reports = {name: report for name, report in self._reports.items() if name in self._targets}
            self._seen = {name: seen for name, seen in self._seen.items() if name in self._targets}
            self._tell()

    def source_failed(self, message: str) -> None:
        """The newest revision cannot be had; the last good one stands."""
        with self._changed:
            self._source_error = message

    def began(self, target: str) -> None:
        """A reconcile of the target began."""
        now = self._monotonic()
        with self._changed:
            before = self._targets.get(target, TargetStatus(now))
            self._targets[target] = replace(before, running_since=now, life=now)

    def alive(self, target: str) -> None:
        """The present reconcile of the target makes progress."""
        with self._changed:
            if target in self._targets:
                self._targets[target] = replace(self._targets[target], life=self._monotonic())

    def ended(self, record: Reconciled, report: Report | None, seen: Situation | None = None) -> None:
        """A reconcile ended.

        Args:
            seen: What was known and seen of the target at its end; without it, what was seen before stands.
        """
        now = self._monotonic()
        with self._changed:
            before = self._targets.get(record.target, TargetStatus(now))
            good = record.at if record.good else before.last_good
            self._targets[record.target] = replace(
                before, last=record, last_good=good, completed=now, running_since=None, life=now
            )
            if report is not None:
                self._reports[record.target] = report
            if seen is not None:
                self._seen[record.target] = seen
            self._tell()
        for observer in self._observers:
            observer(record)

    def stands_by(self, holder: str) -> None:
        """Another replica applies."""
        with self._changed:
            self._standby = holder

    def stopping(self) -> None:
        """The daemon is about to end."""
        with self._changed:
            self._stopping = True
            self._tell()

    # Reading

    def snapshot(self) -> Snapshot:
        """Everything now."""
        depth = self._depth()
        with self._changed:
            return Snapshot(
                self._monotonic(),
                self._installation,
                self._revision,
                self._source_error,
                self._loaded,
                self._stopping,
                dict(self._targets),
                self._report(),
                self._problems,
                depth,
                self._standby,
            )

    @property
    def revision(self) -> str:
        """The newest revision that was loaded; empty before the first."""
        with self._changed:
            return self._revision

    def services(self, target: str) -> dict[str, ServiceReport]:
        """The services of a target as last reported."""
        with self._changed:
            report = self._reports.get(target)
        return {service.name: service for service in report.services} if report else {}

    def seen(self) -> dict[str, Situation | None]:
        """What was last known and seen of each target; None for one that no reconcile has looked at yet."""
        with self._changed:
            return {name: self._seen.get(name) for name in self._targets}

    def wait(self, ready: Callable[[Mapping[str, TargetStatus]], bool], seconds: float) -> bool:
        """Waits until the targets' states meet a condition, the daemon stops, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or ready(self._targets), seconds)
            return ready(self._targets)

    def changed(self, since: int, seconds: float) -> int:
        """Waits until a revision was loaded or a reconcile ended, the daemon stops, or the time is over.

        Args:
            since: What an earlier call gave; 0 at first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._version != since, seconds)
            return self._version

    def _tell(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _report(self) -> Report:
        services = [service for report in self._reports.values() for service in report.services]
        targets = {name: state for report in self._reports.values() for name, state in report.targets.items()}
        ordered = tuple(sorted(services, key=lambda s: (s.name, s.target)))
        return Report(
            self._installation, self._revision, ordered, dict(sorted(targets.items())), environment=self._environment
        )


def counted(words: Iterable[str]) -> dict[str, int]:
    """How often each word occurs, sorted."""
    return dict(sorted(Counter(words).items()))
