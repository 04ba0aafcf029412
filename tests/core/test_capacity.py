"""Replicas that a load needs."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.capacity import Load

amounts = st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=1000)


@pytest.mark.parametrize(
    ("rps", "seconds", "utilization", "at_once", "replicas"),
    [
        # The example of Azure ML's page.
        ("20", "10", 70, 1, 286),
        ("20", "10", 100, 1, 200),
        ("20", "10", 70, 4, 72),
        ("0.001", "0.001", 70, 1, 1),
        # In floating point 7 * 0.1 / 0.7 is a little more than one.
        ("7", "0.1", 70, 1, 1),
    ],
)
def test_replicas(rps: str, seconds: str, utilization: int, at_once: int, replicas: int) -> None:
    """By the formula, rounded up, never none."""
    assert Load(Fraction(rps), Fraction(seconds), utilization, at_once).replicas == replicas


@given(amounts, amounts, st.integers(1, 100), st.integers(1, 64))
def test_just_enough(rps: Fraction, seconds: Fraction, utilization: int, at_once: int) -> None:
    """They are no busier than asked for; one fewer would be."""
    load = Load(rps, seconds, utilization, at_once)
    wanted = load.under_way * 100
    assert wanted <= load.replicas * at_once * utilization
    assert load.replicas == 1 or wanted > (load.replicas - 1) * at_once * utilization
