"""What goes into a run and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from reconciler.core.change import Plan, Refusal
from reconciler.core.contents import Tree
from reconciler.core.dataclass import dataclass, field
from reconciler.core.report import Report
from reconciler.core.resources import ResourceId
from reconciler.core.reviewed import Reviewed
from reconciler.core.situation import Situation
from reconciler.engine.desired import DesiredState
from reconciler.engine.lifecycle import State
from reconciler.engine.progress import Result


@dataclass(frozen=True)
class Look:
    """What is wanted, what is there, and the plan that follows: hops 2 to 6.

    Args:
        reporting: Makes the report; called once, by whoever asks for it first.
    """

    tree: Tree
    scope: frozenset[str] | None
    state: DesiredState
    situation: Situation
    plan: Plan
    reporting: Callable[[], Report]

    @cached_property
    def report(self) -> Report:
        """The report that follows from the plan and what was seen for it."""
        return self.reporting()


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How a plan is carried out.

    Args:
        partial: Go on although some manifests have errors.
        allowed: Codes of rails that this call lifts.
        max_delete_percent: Up to which share of a target's resources this call lets be deleted.
        timeout: Seconds for everything, health included; None waits as long as the targets' own deadlines allow.
        wait: Wait until what changed is healthy.
        ignore_holds: Try again what failed before at once.
        by: Who asked, for the record.
        targets: Carry out only changes of these targets, and only those that wait for no other target; None for all.
        only: Carry out only the actions that were reviewed, as long as they mean the same; None for all.
    """

    partial: bool = False
    allowed: frozenset[str] = frozenset()
    max_delete_percent: float | None = None
    timeout: float | None = None
    wait: bool = True
    ignore_holds: bool = False
    by: str = ""
    targets: frozenset[str] | None = None
    only: Reviewed | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: hop 8.

    Args:
        plan: What was to be done.
        last: What was seen at the end.
        refusals: Rails that stopped all or part of it.
        lifted: Rails that an approval or a flag lifted for it, each with who gave it.
        unhealthy: Services that changed and did not become healthy, with the reason.
        cancelled: Why it stopped early; empty if it did not.
        awaited: Targets outside of this run whose changes must come first.
        healed: Resources whose drift was taken back.
    """

    plan: Plan
    last: Look
    results: tuple[Result, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    lifted: tuple[tuple[Refusal, str], ...] = ()
    unhealthy: Mapping[str, str] = field(default_factory=dict[str, str])
    cancelled: str = ""
    timed_out: bool = False
    awaited: frozenset[str] = frozenset()
    healed: frozenset[ResourceId] = frozenset()

    @property
    def report(self) -> Report:
        """How everything is at the end."""
        return self.last.report

    @property
    def failed(self) -> tuple[Result, ...]:
        """Changes that failed or were skipped because another failed."""
        return tuple(r for r in self.results if r.state in (State.FAILED, State.SKIPPED))

    @property
    def word(self) -> str:
        """For history: `applied`, `partly`, `failed`, `refused`, `interrupted`."""
        if self.cancelled:
            return "interrupted"
        if self.failed:
            return "partly" if any(r.state is State.DONE for r in self.results) else "failed"
        if self.refusals and not self.results:
            return "refused"
        return "applied"
