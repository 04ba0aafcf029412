"""What a plan was made against, where that is not the targets as they are now."""

from __future__ import annotations

from reconciler.core.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A value that could not be compared.

    Args:
        id: Of the resource, as text.
        pointer: Where in it.
        reference: Where a secret comes from; empty for a field that was nobody's business before Git named it.
    """

    id: str
    pointer: str
    reference: str


@dataclass(frozen=True, slots=True)
class Basis:
    """Another revision, as if it had been applied and nothing had moved since; or what was observed some time ago.

    Args:
        kind: `commit` or `snapshot`.
        revision: That revision; for a snapshot the one that was being reconciled when it was made.
        installation: Whose snapshot it is.
        observed_at: Unix time in seconds at which the target was seen that was seen longest ago.
        age: Seconds from then to this plan.
        not_compared: Of which the snapshot does not say what this plan would have to know.
    """

    kind: str
    revision: str = ""
    installation: str = ""
    observed_at: float = 0.0
    age: float = 0.0
    not_compared: tuple[NotCompared, ...] = ()
