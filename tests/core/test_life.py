"""The state machines of `machine`: quick in every run, deep in the long suites."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.searching import deeply

from .conftest import DEEP, QUICK
from .machine import Life, LifeUnderPolicies


@pytest.mark.parametrize("machine", [Life, LifeUnderPolicies])
def test_whatever_happens_it_comes_to_rest(machine: type[Life]) -> None:
    """Commits, hand edits, crashes and lost records in any order end as Git wants, with an empty plan."""
    run_state_machine_as_test(machine, settings=settings(QUICK, stateful_step_count=15))


@pytest.mark.long
@pytest.mark.parametrize("machine", [Life, LifeUnderPolicies])
def test_whatever_happens_it_comes_to_rest_searched_deeply(machine: type[Life]) -> None:
    """The same with many more and longer lives."""
    run_state_machine_as_test(machine, settings=settings(DEEP, max_examples=deeply(1500), stateful_step_count=30))
