"""Plans as text, JSON and Markdown: exact output of one plan with everything, and what holds for any plan."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from reconciler.core.change import Action, Change, FieldChange, Plan
from reconciler.core.problems import Position, Problem, Severity
from reconciler.core.resources import ResourceId
from reconciler.core.secrets import SecretRef
from reconciler.core.values import MISSING, Unknown
from reconciler.views import plan_json, plan_markdown, plan_text
from reconciler.views.style import Style
from reconciler.views.values import transition
from tests.views.plans import CANARY, REVISION, everything, plans, secret

GOLDEN = Path(__file__).parent / "golden"
_ANSI = re.compile(r"\x1b\[[\d;]*m")


def golden(name: str) -> str:
    """The agreed output."""
    return (GOLDEN / name).read_text()


def test_text_of_everything() -> None:
    """Each kind of entry stands in the text, in its place."""
    assert plan_text.render(everything()) == golden("plan.txt")


def many_warnings() -> Plan:
    """A plan with a thousand warnings of one code, two of another, and four errors of one."""
    rounded = [
        Problem("limit-rounded-up", f"cores of {n}", Position(f"services/{n:04}.yaml", 1, 1), severity=Severity.WARNING)
        for n in range(1000)
    ]
    other = [Problem("java-missing", f"no Java for {n}", severity=Severity.WARNING) for n in range(2)]
    errors = [Problem("unknown-key", f"unknown key '{n}'", Position("services/x.yaml", n, 1)) for n in range(1, 5)]
    return Plan(REVISION, warnings=(*rounded, *other), problems=tuple(errors))


@pytest.mark.parametrize("render", [plan_text.render, plan_markdown.render])
def test_warnings_alike_are_counted(render: Callable[[Plan], str]) -> None:
    """Three of a kind are shown and the rest counted; errors are all shown."""
    shown = render(many_warnings())
    assert len(re.findall(r"cores of \d+", shown)) == 3
    assert re.findall(r"… and [\d,]+ more like it \[.*\]", shown) == ["… and 997 more like it [limit-rounded-up]"]
    assert len(re.findall("no Java for", shown)) == 2
    assert len(re.findall("unknown key '", shown)) == 4
    assert len(json.loads(plan_json.render(many_warnings()))["warnings"]) == 1002


def test_coloured_text_of_everything() -> None:
    """Colour adds codes and changes no character."""
    coloured = plan_text.render(everything(), Style(True))
    assert coloured == golden("plan.ansi")
    assert _ANSI.sub("", coloured) == golden("plan.txt")


def test_markdown_of_everything() -> None:
    """The comment of a pull request has a table of changes and folded fields."""
    assert plan_markdown.render(everything()) == golden("plan.md")


def test_json_of_everything() -> None:
    """The JSON has a version, pending changes and drift apart, and no no-ops."""
    assert plan_json.render(everything()) == golden("plan.json")


def test_empty_plan() -> None:
    """A plan without resources says so and has no digest line."""
    text = plan_text.render(Plan(REVISION))
    assert text.endswith("Nothing to do: there are no resources.\n")
    assert "Digest" not in text


@settings(max_examples=40, deadline=None)
@given(plans)
def test_any_plan_is_rendered_alike_twice(plan: Plan) -> None:
    """The same plan gives the same bytes, in every format, and nothing raises."""
    for render in (plan_text.render, plan_json.render, plan_markdown.render):
        assert render(plan) == render(plan)


@settings(max_examples=40, deadline=None)
@given(plans)
def test_no_secret_in_any_view(plan: Plan) -> None:
    """Neither a secret's text nor its fingerprint stands in any output."""
    for render in (plan_text.render, plan_json.render, plan_markdown.render):
        assert CANARY not in render(plan)


@settings(max_examples=40, deadline=None)
@given(plans)
def test_text_holds_no_control_characters(plan: Plan) -> None:
    """What comes from Git or from targets cannot command a terminal."""
    for line in plan_text.render(plan).split("\n"):
        assert line.isprintable()


@settings(max_examples=40, deadline=None)
@given(plans)
def test_json_is_read_back(plan: Plan) -> None:
    """The JSON output is JSON, with the plan's digest."""
    assert json.loads(plan_json.render(plan))["digest"] == plan.digest


@pytest.mark.parametrize("limit", [2_000, 5_000, 65_000])
def test_markdown_fits_and_counts_what_it_leaves_out(limit: int) -> None:
    """A huge plan stays within the limit and says how much is left out."""
    text = plan_markdown.render(_many(10_000, 5_000), limit)
    assert len(text) <= limit
    assert re.search(r"Left out: [\d,]+ of 5,001 under “Changes”", text)


@settings(max_examples=40, deadline=None)
@given(plans)
def test_markdown_always_fits(plan: Plan) -> None:
    """No plan exceeds the limit."""
    assert len(plan_markdown.render(plan)) <= plan_markdown.LONGEST


def test_markdown_cannot_be_broken_out_of() -> None:
    """Back-ticks, pipes, mentions and tags in names and values stay text."""
    id_ = ResourceId("laptop", "process", "a|b`c")
    fields = (FieldChange("/x", "```\n</details>", "@everyone"),)
    text = plan_markdown.render(Plan(REVISION, (Change(id_, Action.UPDATE, "@all <img>|", "s", fields),)))
    assert "````" in text
    assert "&#64;all \\<img\\>\\|" in text
    assert "`laptop/a\\|b'c`" in text


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("1", "2", "1 → 2"),
        ("1", 1, '"1" → 1'),
        (MISSING, "", '(absent) → ""'),
        (None, True, "null → true"),
        ("a\x1b[31m\nc", "b", "a\\x1b[31m\\nc → b"),
        (secret("a"), secret("b"), "(sensitive) changed"),
        (MISSING, secret("a"), "(sensitive) added"),
        (secret("a"), MISSING, "(sensitive) removed"),
        (secret("a"), "plain", "(sensitive) → plain"),
        (SecretRef("env", "A"), SecretRef("env", "B"), "(sensitive, env:A) → (sensitive, env:B)"),
        ([secret("a")], [secret("b")], '["(sensitive)"] (sensitive) changed'),
        ("x", Unknown("a/b/c", "/d"), "x → (known after apply)"),
        ({"b": 1, "a": [2.5]}, {}, '{"a": [2.5], "b": 1} → {}'),
        ("sha256:" + "a" * 64, "sha256:" + "b" * 64, f"sha256:{'a' * 12} → sha256:{'b' * 12}"),
        ("a" * 40, "b" * 40, f"{'a' * 12} → {'b' * 12}"),
        ("a" * 64, MISSING, f"{'a' * 12} → (absent)"),
        ("a" * 63 + "b", "a" * 64, f"{'a' * 63}b → {'a' * 64}"),
        ([{"digest": "a" * 64}], [], f'[{{"digest": "{"a" * 12}"}}] → []'),
        ("x" * 200 + "a", "x" * 200 + "b", f"…{'x' * 16}a → …{'x' * 16}b"),
    ],
)
def test_transitions(before: object, after: object, expected: str) -> None:
    """A field's two sides read unmistakably, secrets only as changed."""
    assert transition(before, after) == expected


def _many(services: int, changed: int) -> Plan:
    def change(index: int) -> Change:
        id_ = ResourceId("laptop", "process", f"service-{index}")
        if index >= changed:
            return Change(id_, Action.NOOP, "in sync", id_.name, steps=())
        return Change(id_, Action.UPDATE, "changed in Git", id_.name, (FieldChange("/models/0/version", "1", "2"),))

    return Plan(REVISION, tuple(change(index) for index in range(services)))


def test_ten_thousand_services_with_fifty_changes_take_a_second_at_most() -> None:
    """Rendering in every format is about what changed, not about what did not."""
    plan = _many(10_000, 50)
    started = time.process_time()
    for render in (plan_text.render, plan_json.render, plan_markdown.render):
        render(plan)
    assert time.process_time() - started < 1.0
