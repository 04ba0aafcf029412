"""Patterns of fields, the rules that policies make of them, and rules that speak of nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from reconciler.core.driver import Capabilities
from reconciler.core.patterns import Patterns, items_of, named_pointer, pattern_of
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Position, Severity
from reconciler.core.resources import Completeness, Desired, Observation, Observed, ResourceId
from reconciler.core.unmatched import still_unmatched, unmatched_rules
from reconciler.core.values import walk

from .conftest import QUICK
from .model import SPECS

SPEC: dict[str, Any] = {
    "workers": 1,
    "limits": {"memoryGb": 2.0},
    "models": [{"name": "m", "version": "1"}, {"name": "a/b", "port": 80, "on": True}],
}
FIELDS = ("/workers", "/limits/*", "/models/*/name", "/models/*/version", "/environmentVariables/*", "/free/**")


@pytest.mark.parametrize(
    ("pattern", "pointer", "kind", "matches"),
    [
        ("/a/b", "/a/b", "K", True),
        ("/a/b", "/a/b/c", "K", True),
        ("/a/b", "/a", "K", False),
        ("/a/b", "/a/bc", "K", False),
        ("a/b", "/a/b", "K", True),
        ("/a/*/c", "/a/x/c", "K", True),
        ("/a/*/c", "/a/x/y/c", "K", False),
        ("/a/**/c", "/a/x/y/c", "K", True),
        ("/a/**/c", "/a/c", "K", True),
        ("/**", "/anything", "K", True),
        ("/", "/anything", "K", True),
        ("Deployment:/spec/replicas", "/spec/replicas", "deployment", True),
        ("Deployment:/spec/replicas", "/spec/replicas", "Service", False),
        ("/a:b/c", "/a:b/c", "K", True),
        ("/a.b", "/axb", "K", False),
    ],
)
def test_patterns(pattern: str, pointer: str, kind: str, matches: bool) -> None:
    """A pattern speaks of a field and all below it, `*` of one step, `**` of any number of steps."""
    assert DriftRule(pattern, FieldPolicy.IGNORE).matches(kind, pointer) is matches
    assert Patterns([pattern]).match(kind, pointer) is matches


def test_the_last_rule_wins() -> None:
    """Of several rules that match the last counts, and the default where none does."""
    rules = (DriftRule("/a/**", FieldPolicy.IGNORE), DriftRule("/a/b", FieldPolicy.HEAL))
    policy = Policy(drift=FieldPolicy.REPORT, rules=rules)
    assert [policy.of_field("k", p) for p in ("/a/b", "/a/c", "/x")] == [
        FieldPolicy.HEAL,
        FieldPolicy.IGNORE,
        FieldPolicy.REPORT,
    ]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("/models/[name=m]/version", ["/models/0/version"]),
        ("/models/[name=m]", ["/models/0/name", "/models/0/version"]),
        ("/models/[name=a~1b]/port", ["/models/1/port"]),
        ("/models/[port=80]/name", ["/models/1/name"]),
        ("/models/[on=true]/name", ["/models/1/name"]),
        ("/**/[name=m]/version", ["/models/0/version"]),
        ("/models/[name=m]/**", ["/models/0/name", "/models/0/version"]),
        ("/models/[name=other]", []),
        ("/limits/[name=m]", []),
        ("other:/models/[name=m]", []),
    ],
)
def test_items_are_named_by_what_they_hold(pattern: str, matched: list[str]) -> None:
    """`[key=value]` speaks of the items of a list that read so, whatever their place."""
    found = pattern_of(pattern)
    assert [p for p, _ in walk(SPEC) if found.matches("process", p, items_of(SPEC))] == matched


def test_a_pointer_with_names_in_place_of_indexes_leads_to_the_same_field() -> None:
    """What is proposed for a policy names items, so that it holds wherever they come to stand."""
    assert named_pointer("/models/1/port", items_of(SPEC)) == "/models/[name=a~1b]/port"
    assert named_pointer("/limits/memoryGb", items_of(SPEC)) == "/limits/memoryGb"
    for pointer, _ in walk(SPEC):
        assert pattern_of(named_pointer(pointer, items_of(SPEC))).matches("process", pointer, items_of(SPEC))


@QUICK
@given(SPECS)
def test_every_place_of_a_spec_meets_itself(spec: dict[str, Any]) -> None:
    """A pattern that a plan printed matches its field, and meets it as a declared place."""
    for pointer, _ in walk(spec):
        assert pattern_of(pointer).matches("thing", pointer, items_of(spec))
        assert pattern_of(pointer).meets("thing", pattern_of(pointer))


def test_narrower_patterns_rank_higher() -> None:
    """Literal steps count most, then single wildcards, then a kind."""
    shuffled = ["/a/b", "/a/[name=x]/c", "/a/**", "/a/*/c", "/**", "K:/a/b", "/a/*"]
    ordered = ["/**", "/a/**", "/a/*", "/a/b", "K:/a/b", "/a/*/c", "/a/[name=x]/c"]
    assert sorted(shuffled, key=lambda text: pattern_of(text).rank) == ordered


# Rules that speak of nothing


def unmatched(*patterns: str, fields: tuple[str, ...] = FIELDS) -> dict[str, str]:
    """The hints for those of the patterns that match nothing."""
    rules = [DriftRule(text, FieldPolicy.IGNORE, "service", Position("a.yaml", 1, 1)) for text in patterns]
    desired = Desired(ResourceId("laptop", "process", "one"), SPEC)
    told = {"laptop": Capabilities(frozenset({"process", "job"}), fields)}
    found = unmatched_rules([(rules, [desired])], told)
    assert all(one.problem.severity is Severity.WARNING and one.problem.position for one in found)
    return {one.rule.pattern: one.problem.hint for one in found}


@pytest.mark.parametrize(
    "pattern",
    [
        "/workers",
        "/limits",
        "/limits/openFiles",
        "process:/environmentVariables/ANY",
        "/**/version",
        "/models/*/version",
        "/models/[name=m]",
        "/free/of/form",
        "/**",
    ],
)
def test_a_pattern_of_a_field_there_is_or_may_be_is_no_typo(pattern: str) -> None:
    """Fields that are wanted, or that the driver says there may be, are known."""
    assert unmatched(pattern) == {}


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("/worker", "did you mean '/workers'?"),
        ("/memoryGb", "did you mean '/limits/memoryGb'?"),
        ("Process:/Workers", "did you mean '/workers'?"),
        ("proces:/workers", "did you mean 'process'?"),
        ("jobs:/workers", "did you mean 'job'?"),
        ("Deployment:/workers", "there is process"),
        ("/models/[name=n]/version", "did you mean '/models/[name=m]/version'?"),
        ("/zzz", "there are /workers, /limits, /models, /environmentVariables, /free"),
    ],
)
def test_a_pattern_of_nothing_is_told_with_what_was_meant(pattern: str, hint: str) -> None:
    """A typo in a pointer or a kind never silently ignores nothing."""
    assert unmatched(pattern) == {pattern: hint}


def test_without_declared_fields_only_what_is_wanted_counts() -> None:
    """A driver that cannot say which fields there may be leaves it to the resource."""
    assert [*unmatched("/workers", "/limits/openFiles", fields=())] == ["/limits/openFiles"]


def test_a_rule_for_many_is_no_typo_if_one_of_them_has_the_field() -> None:
    """A rule of the defaults that matches one service's resource is not told, in whatever order they come."""
    rule = DriftRule("/zone", FieldPolicy.IGNORE, "defaults")
    told = {"laptop": Capabilities(frozenset({"process"}))}
    plain, zoned = (Desired(ResourceId("laptop", "process", n), s) for n, s in (("a", {}), ("b", {"zone": 1})))
    assert unmatched_rules([([rule], [plain]), ([rule], [zoned]), ([rule], [plain])], told) == []
    (one,) = unmatched_rules([([rule], [plain]), ([rule], [plain])], told)
    assert one.rule is rule


def test_what_only_the_target_has_is_no_typo_either() -> None:
    """A field that others put there is known once the target was seen."""
    rules = [DriftRule("/replicas", FieldPolicy.IGNORE), DriftRule("/cars/[name=x]", FieldPolicy.IGNORE)]
    id_ = ResourceId("laptop", "process", "one")
    found = unmatched_rules([(rules, [Desired(id_, {})])], {"laptop": Capabilities(frozenset({"process"}))})
    assert len(still_unmatched(found, {})) == 2
    seen = {id_: Observed(id_, {"replicas": 1, "cars": [{"name": "x"}]})}
    assert still_unmatched(found, {"laptop": Observation("laptop", Completeness.COMPLETE, seen)}) == ()
