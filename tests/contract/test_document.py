"""docs/drivers.md says what the code does."""

from __future__ import annotations

import pytest

from reconciler.core.driver import Endpoint, Events, Logs

from .fixture import HOOKS, DriverFixture
from .memory import MemoryFixture
from .tables import DRIVERS, FIXTURES, _has, fresh, written


def test_the_tables_are_fresh() -> None:
    """Every table in the document is what the code gives now."""
    assert written() == fresh()
    assert all(name in written() for name in DRIVERS)


@pytest.mark.parametrize("ability", [Endpoint, Logs, Events])
def test_asking_a_class_is_asking_its_objects(ability: type) -> None:
    """The table's question gives what `isinstance` gives."""
    assert _has(type(MemoryFixture().make_driver()), ability) == isinstance(MemoryFixture().make_driver(), ability)


@pytest.mark.parametrize("fixture", FIXTURES.values(), ids=list(FIXTURES))
def test_every_hook_is_there_or_declared_impossible(fixture: type[DriverFixture]) -> None:
    """A fixture implements a hook or says why its target cannot do it, never neither, never both."""
    implemented = {hook for hook in HOOKS if getattr(fixture, hook) is not getattr(DriverFixture, hook)}
    assert implemented | fixture.cannot.keys() == set(HOOKS)
    assert not implemented & fixture.cannot.keys()
    assert all(fixture.cannot.values())
