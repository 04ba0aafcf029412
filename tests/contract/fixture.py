"""What a driver's test module brings: how to make a driver and what to want of it, and hooks into its target.

A hook that a target has no way for is listed in `cannot` with the reason; the rules that need it are then skipped with
that reason, and the table in docs/drivers.md shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from reconciler.core.described import Described
from reconciler.core.driver import Driver
from reconciler.core.errors import TargetError
from reconciler.core.resources import Desired, Health, ResourceId

from .harness import INSTALLATION, Bench

Rule = TypeVar("Rule", bound=Callable[..., Any])

FAILURES = ("401", "403", "404", "409", "412", "429", "500", "503", "timeout", "broken")


class DriverFixture:
    """One empty target with a driver for it. Subclasses say how; only the first three methods are compulsory."""

    cannot: ClassVar[dict[str, str]] = {}
    patience: ClassVar[int] = 50

    # Compulsory

    def make_driver(self, installation: str = INSTALLATION) -> Driver:
        """A driver for this one target; every call gives another driver of the same target."""
        raise NotImplementedError

    def desired(self, name: str = "one", variant: str = "") -> Desired:
        """A resource to want. Variants: `""`, `changed` (one field differs), `more` (a field added)."""
        raise NotImplementedError

    def writes(self) -> int:
        """How many calls so far were to change something at the target."""
        raise NotImplementedError

    # Between two looks at slow work, and at the end

    def pause(self) -> None:
        """Lets a little time pass where the target needs it."""

    def close(self) -> None:
        """Takes the target away."""

    # Optional: what happens at the target by other hands

    def edit(self, id_: ResourceId) -> str:
        """Changes a field that `desired` names by hand; its pointer in normal form."""
        raise NotImplementedError

    def edit_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        """Sets a field that is not ours by hand; tells afterwards whether it still stands."""
        raise NotImplementedError

    def touch(self, id_: ResourceId) -> None:
        """Writes a resource from elsewhere, so that what was observed before is stale."""
        raise NotImplementedError

    def remove(self, id_: ResourceId) -> None:
        """Deletes by hand."""
        raise NotImplementedError

    def add_foreign(self, id_: ResourceId) -> Callable[[], bool]:
        """Something of that name that is not ours; tells afterwards whether it stands untouched."""
        raise NotImplementedError

    def copy(self, id_: ResourceId) -> ResourceId:
        """Copies a resource with its mark under another name."""
        raise NotImplementedError

    def condition(self, id_: ResourceId, state: str) -> Health:
        """Brings a resource into a native state (one of `states`); the health it stands for."""
        raise NotImplementedError

    states: ClassVar[tuple[str, ...]] = ()

    # Optional: kinds of specs

    def immutable(self, name: str, variant: str) -> Desired:
        """A resource whose variants `a` and `b` differ in an immutable field."""
        raise NotImplementedError

    def secret(self, name: str, text: str) -> Desired:
        """A resource with a secret of that text in it."""
        raise NotImplementedError

    def hidden(self, id_: ResourceId) -> str:
        """The secret as the target was given it."""
        raise NotImplementedError

    def awkward(self, name: str) -> Desired:
        """A resource spelled as the target would not spell it: other units, other orders, defaults left out."""
        raise NotImplementedError

    def invalid(self, name: str) -> Desired:
        """A resource that the target refuses."""
        raise NotImplementedError

    def staged(self, name: str, variant: str = "") -> Desired:
        """A resource of a kind that is staged."""
        raise NotImplementedError

    def move(self, name: str) -> Desired:
        """A resource that belongs to the service of that name, the same but for it."""
        raise NotImplementedError

    def describable(self, name: str) -> Desired:
        """A resource of a service that manifests can say, with as many settings as there are."""
        raise NotImplementedError

    def redeployed(self, found: Described) -> Desired:
        """What a Service renders to that says what the driver told."""
        raise NotImplementedError

    # Optional: trouble

    def down(self) -> None:
        """Nothing answers any more."""
        raise NotImplementedError

    def fail_second_page(self) -> None:
        """The next reading cannot be finished."""
        raise NotImplementedError

    def slow(self) -> None:
        """Changes take a while from now on, more than one look."""
        raise NotImplementedError

    def slow_delete(self) -> None:
        """Deletions take a while from now on, more than one look."""
        raise NotImplementedError

    def fail(self, failure: str, when: str = "before", times: int = 1) -> type[TargetError]:
        """The next write goes wrong (one of `FAILURES`); the class it must be told as."""
        raise NotImplementedError

    def crash(self, when: str, write: int) -> type[BaseException]:
        """The `write`-th write from now dies `before` or `after` the target did it; what is raised then."""
        raise NotImplementedError

    # For the rules

    def bench(self) -> Bench:
        """A harness over a new driver of this target."""
        return Bench(self.make_driver(), pause=self.pause, patience=self.patience)


HOOKS = [
    "edit",
    "edit_foreign",
    "touch",
    "remove",
    "add_foreign",
    "copy",
    "condition",
    "immutable",
    "secret",
    "awkward",
    "invalid",
    "staged",
    "move",
    "describable",
    "down",
    "fail_second_page",
    "slow",
    "slow_delete",
    "fail",
    "crash",
]


def needs(*hooks: str) -> Callable[[Rule], Rule]:
    """Says which hooks a rule uses."""

    def mark(rule: Rule) -> Rule:
        rule.needs = hooks  # type: ignore[attr-defined]
        return rule

    return mark
