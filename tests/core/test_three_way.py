"""`three_way` by a table of cases, and what holds for all values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from reconciler.core.diff import assign, differences, equal
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.three_way import three_way
from reconciler.core.values import MISSING, lookup, walk

from .conftest import QUICK
from .model import POLICIES, SPECS, VALUES

CASES = yaml.safe_load((Path(__file__).parent / "three_way.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_table(case: dict[str, Any]) -> None:
    """Each case gives its changes with their causes, its drift and what is to be written."""
    rules = tuple(DriftRule(p, FieldPolicy(w)) for p, w in case.get("policy", {}).items())
    policy = Policy(drift=FieldPolicy(case.get("default", "heal")), rules=rules)
    seen = three_way(
        "thing",
        case["desired"],
        case["observed"],
        case.get("sent"),
        case.get("answered"),
        case.get("interrupted"),
        policy,
        case.get("write_only", ()),
        case.get("closed", ()),
        anew=case.get("anew", False),
    )
    assert (case.get("record") == "none") == ("sent" not in case)
    assert {c.pointer: c.cause.value for c in seen.changes} == case.get("changes", {})
    assert [c.pointer for c in seen.drift] == case.get("drift", [])
    assert seen.effective == case.get("effective", case["desired"])
    assert [c.pointer for c in seen.carried if c.wanted is MISSING] == case.get("foreign", [])
    assert seen.stale == case.get("stale", False)


@QUICK
@given(SPECS, SPECS)
def test_differences_are_what_turns_one_value_into_the_other(before: Any, after: Any) -> None:
    """Assigning every difference gives the other value, but for maps that end up empty; none means equal."""
    result = before
    for pointer, _, value in differences(before, after):
        result = assign(result, pointer, value)
    assert list(_leaves(result)) == list(_leaves(after))
    assert equal(before, after) == (not list(differences(before, after)))


def _leaves(value: Any) -> list[tuple[str, str]]:
    return sorted((p, repr(float(v) if type(v) is int else v)) for p, v in walk(value) if v != {})


@QUICK
@given(VALUES, VALUES)
def test_equality_is_symmetric_and_reflexive(left: Any, right: Any) -> None:
    """Equality of values behaves as one."""
    assert equal(left, left)
    assert equal(left, right) == equal(right, left)
    assert equal((left,), [left])


@QUICK
@given(SPECS, SPECS, SPECS, POLICIES)
def test_what_is_not_named_is_never_changed(desired: Any, observed: Any, sent: Any, policy: Policy) -> None:
    """No change and no drift is about a field that neither Git nor our record names."""
    seen = three_way("thing", desired, observed, sent, observed, policy=policy)
    for change in seen.changes:
        top = "/" + change.pointer.split("/")[1]
        assert lookup(desired, top) is not MISSING or lookup(sent, top) is not MISSING
    assert seen.drift == ()


@QUICK
@given(SPECS, SPECS, SPECS, SPECS)
def test_with_the_policy_ignore_nothing_is_ever_written(desired: Any, observed: Any, sent: Any, answered: Any) -> None:
    """Under `ignore` everywhere there are neither changes nor drift, whatever stands where."""
    seen = three_way("thing", desired, observed, sent, answered, policy=Policy(drift=FieldPolicy.IGNORE))
    assert (seen.changes, seen.drift) == ((), ())


def test_assigning_goes_through_lists_and_makes_maps() -> None:
    """A place in a list can be set and taken out, a missing map on the way is made, nothing else is touched."""
    assert assign({"l": [1, {"a": 2}]}, "/l/1/a", 3) == {"l": [1, {"a": 3}]}
    assert assign({"l": [1, 2]}, "/l/0", MISSING) == {"l": [2]}
    assert assign({"l": [1]}, "/l/7", 2) == {"l": [1]}
    assert assign({}, "/a/b", 1) == {"a": {"b": 1}}
    assert assign({}, "/a/b", MISSING) == {}
    assert assign({"a": 1}, "/a/b", 2) == {"a": {"b": 2}}
    assert assign({"a": 1}, "", 2) == 2


def test_a_nan_stays_what_it_is() -> None:
    """Not-a-number equals itself here, or it would be written for ever."""
    assert equal(float("nan"), float("nan"))
    assert not equal(float("nan"), 1.0)
