"""The suite itself: every rule catches a driver that breaks it, and no hook is skipped in silence."""

from __future__ import annotations

import pytest

from reconciler.core.errors import TargetError

from .broken import BROKEN
from .fixture import HOOKS, DriverFixture
from .memory import MemoryFixture, MemoryStagedFixture
from .rules import Contract, rules

CAUGHT = (AssertionError, TargetError, ValueError, KeyError, pytest.fail.Exception)


def test_every_rule_has_a_broken_driver() -> None:
    """There is one broken driver for each rule, and none for a rule that does not exist."""
    assert sorted(BROKEN) == rules()


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_the_suite_catches(rule: str) -> None:
    """A driver that breaks a rule fails that rule's test, which the sound driver passes."""
    broken, over = BROKEN[rule]
    fixture = type(f"{broken.__name__}Fixture", (over,), {"driver_class": broken})
    getattr(Contract(), rule)(over())
    with pytest.raises(CAUGHT):
        getattr(Contract(), rule)(fixture())


@pytest.mark.parametrize("fixture", [MemoryFixture, MemoryStagedFixture], ids=lambda f: f.__name__)
def test_every_hook_is_there_or_declared_impossible(fixture: type[DriverFixture]) -> None:
    """A fixture implements a hook or says why its target cannot do it, never neither, never both."""
    implemented = {hook for hook in HOOKS if getattr(fixture, hook) is not getattr(DriverFixture, hook)}
    assert implemented | fixture.cannot.keys() == set(HOOKS)
    assert not implemented & fixture.cannot.keys()
    assert all(fixture.cannot.values())


def test_rules_name_hooks_that_exist() -> None:
    """What a rule needs is a hook of the fixture."""
    needed = {hook for rule in rules() for hook in getattr(getattr(Contract, rule), "needs", ())}
    assert needed <= set(HOOKS)
