"""The driver contract as tests: a module a chapter, a test a rule, over any driver's fixture.

A driver's module says `class TestIt(Contract): fixture = ItsFixture`. `test_suite` proves that every rule here catches
a driver that breaks it.
"""

from __future__ import annotations

from .describe import DescribeRules
from .failure import ErrorRules
from .idempotence import IdempotenceRules
from .moves import MoveRules
from .observe import ObserveRules
from .ownership import OwnershipRules
from .round_trip import RoundTripRules
from .shape import ShapeRules
from .timing import TimeRules
from .update import UpdateRules


class Contract(
    ObserveRules,
    RoundTripRules,
    IdempotenceRules,
    UpdateRules,
    MoveRules,
    OwnershipRules,
    DescribeRules,
    TimeRules,
    ErrorRules,
    ShapeRules,
):
    """All chapters."""


def rules() -> list[str]:
    """The names of all rules."""
    return sorted(name for name in dir(Contract) if name.startswith("test_"))
