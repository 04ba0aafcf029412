"""What an import would write, and what a plan would do then."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.change import Change, FieldChange, Plan
from reconciler.core.dataclass import dataclass
from reconciler.core.described import Described, SourceFile, Unsaid
from reconciler.core.problems import Problem
from reconciler.core.resources import ResourceId
from reconciler.core.secrets import SecretRef


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be written, and what a plan would do then.

    Args:
        files: With paths below the manifest folder.
        uses: An InferenceConfig of the repo that the service refers to; empty if one is written.
        references: By variable, where its secret has to be put, since nothing tells where it came from.
        made: The plan of this service and of what it needs, its secrets taken to be where they are referred to.
        problems: What is wrong with the documents here, such as something that the operator's settings do not allow.
    """

    service: str
    described: Described
    files: tuple[SourceFile, ...]
    uses: str
    references: Mapping[str, SecretRef]
    made: Plan
    problems: tuple[Problem, ...]
    unsaid: tuple[Unsaid, ...] = ()

    @property
    def id(self) -> ResourceId:
        """The resource."""
        return self.described.observed.id

    @property
    def change(self) -> Change | None:
        """What a plan would do to the very resource; None if it would leave it alone for another reason."""
        return next((change for change in self.made.changes if change.id == self.id), None)

    @property
    def differences(self) -> tuple[FieldChange, ...]:
        """Fields that a plan would change, that is to say what could not be said."""
        found = self.change.fields if self.change is not None else ()
        return tuple(each for each in found if not each.pointer.startswith("/mark/"))

    @property
    def exact(self) -> bool:
        """A plan would change nothing but whose it is."""
        return not self.differences and not self.problems and self.change is not None and not self.made.refusals
