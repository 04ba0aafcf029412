"""The suite itself: every rule catches a driver that breaks it, and no hook is skipped in silence."""

from __future__ import annotations

import pytest

from reconciler.core.errors import TargetError

from .broken import BROKEN
from .fixture import HOOKS
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


def test_rules_name_hooks_that_exist() -> None:
    """What a rule needs is a hook of the fixture."""
    needed = {hook for rule in rules() for hook in getattr(getattr(Contract, rule), "needs", ())}
    assert needed <= set(HOOKS)
