"""Plans as text, JSON and Markdown: exact output of one plan with everything, and what holds for any plan."""

from __future__ import annotations

import json
import re
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from reconciler.core.change import Action, Blocked, Change, FieldChange, Kept, Plan
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


@settings(max_examples=20, deadline=None)
@given(plans)
def test_any_plan_is_rendered_alike_twice(plan: Plan) -> None:
    """The same plan gives the same bytes, in every format, and nothing raises."""
    for render in (plan_text.render, plan_json.render, plan_markdown.render):
        assert render(plan) == render(plan)


@settings(max_examples=20, deadline=None)
@given(plans)
def test_no_secret_in_any_view(plan: Plan) -> None:
    """Neither a secret's text nor its fingerprint stands in any output."""
    for render in (plan_text.render, plan_json.render, plan_markdown.render):
        assert CANARY not in render(plan)


@settings(max_examples=20, deadline=None)
@given(plans)
def test_text_holds_no_control_characters(plan: Plan) -> None:
    """What comes from Git or from targets cannot command a terminal."""
    for line in plan_text.render(plan).split("\n"):
        assert line.isprintable()


@settings(max_examples=20, deadline=None)
@given(plans)
def test_json_is_read_back(plan: Plan) -> None:
    """The JSON output is JSON, with the plan's digest."""
    assert json.loads(plan_json.render(plan))["digest"] == plan.digest


@pytest.mark.parametrize("limit", [2_000, 5_000, 65_000])
def test_markdown_fits_and_counts_what_it_leaves_out(limit: int) -> None:
    """A huge plan stays within the limit and says how much is left out."""
    text = plan_markdown.render(_many(10_000, 5_000), limit)
    assert len(text) <= limit
    left_out = {
        title: int(number.replace(",", "")) for number, title in re.findall(r"([\d,]+) of 5,000 under “(\w+)”", text)
    }
    assert left_out == {"Changes": 5_000 - text.count("| `~` |"), "Fields": 5_000 - text.count("<details>")}
    assert "`reconciler plan` and its `-o json` have all of it." in text


def test_markdown_is_measured_as_its_reader_does() -> None:
    """Characters outside of the basic plane count twice, as UTF-16 has them, and never more than 262,144 bytes."""
    names = [f"{'🌈' * 40}-{n}" for n in range(3_000)]
    changes = [Change(ResourceId("laptop", "process", name), Action.CREATE, "new in Git", name) for name in names]
    text = plan_markdown.render(Plan(REVISION, tuple(changes)))
    assert 64_000 < len(text.encode("utf-16-le")) // 2 <= 65_000
    assert len(text.encode()) <= 262_144


def test_no_part_of_a_comment_pushes_the_others_out() -> None:
    """Beside thousands of changes, drift, what is kept and what is refused are shown; a giant change hides no other."""
    plan = _many(3_000, 3_000)
    giant = Change(
        ResourceId("laptop", "process", "a-giant"),
        Action.UPDATE,
        "changed in Git",
        "a-giant",
        tuple(FieldChange(f"/env/{'X' * 90}{n}", "a" * 90, "b" * 90) for n in range(1_000)),
    )
    everything_ = replace(everything(), changes=(giant, *plan.changes))
    text = plan_markdown.render(everything_)
    for title in ("Refused", "Problems", "Targets", "Changes", "Fields", "Drift", "Blocked", "Kept", "Warnings"):
        assert f"#### {title}\n" in text
    assert "… and 900 more" in text
    assert "<details><summary>process laptop/service-0: 1 field</summary>" in text


def test_long_lists_are_folded_in_comments_and_counted_in_text() -> None:
    """A hundred kept resources: folded in Markdown, twenty and a count in text, all of them in JSON."""
    kept = tuple(
        Kept(ResourceId("registry/models", "model", f"m:{n}"), "not used any more", "retained") for n in range(100)
    )
    plan = Plan(REVISION, kept=kept)
    assert "#### Kept\n<details><summary>100</summary>\n\n- `" in plan_markdown.render(plan)
    assert plan_text.render(plan).count("not used any more") == 20
    assert "  … and 80 more [retained]\n" in plan_text.render(plan)
    assert len(json.loads(plan_json.render(plan))["kept"]) == 100


@settings(max_examples=20, deadline=None)
@given(plans)
def test_markdown_always_fits(plan: Plan) -> None:
    """No plan exceeds the limit."""
    assert plan_markdown.units(plan_markdown.render(plan)) <= plan_markdown.LONGEST


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


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, C ones too: what work costs, whatever else the machine does."""
    number = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return number


@pytest.mark.parametrize("render", [plan_text.render, plan_json.render, plan_markdown.render])
def test_what_did_not_change_costs_next_to_nothing(render: Callable[[Plan], str]) -> None:
    """Ten times as many services with the same fifty changes: a call or two for each of the others, and no more."""
    few, many = _many(1_000, 50), _many(10_000, 50)
    assert calls_of(lambda: render(many)) - calls_of(lambda: render(few)) <= 3 * 9_000


@pytest.mark.parametrize("render", [plan_text.render, plan_json.render, plan_markdown.render])
def test_work_and_memory_grow_with_what_changed(render: Callable[[Plan], str]) -> None:
    """Ten times as many changes take at most eleven times the calls and the memory."""
    few, many = _many(100, 100), _many(1_000, 1_000)
    assert calls_of(lambda: render(many)) <= 11 * calls_of(lambda: render(few))

    def peak(plan: Plan) -> int:
        tracemalloc.start()
        try:
            render(plan)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = _many(100, 100), _many(1_000, 1_000)
    assert peak(many) <= 11 * peak(few)


def test_what_one_reason_stops_stands_below_it_and_is_not_unchanged() -> None:
    """A target that cannot be seen is told once, and its resources are not counted as being as they should."""
    ids = [ResourceId("edge", "module", name) for name in ("x", "y")]
    changes = tuple(Change(id_, Action.NOOP, "") for id_ in ids)
    blocked = tuple(Blocked(id_, "target edge cannot be seen: timed out") for id_ in ids)
    plan = Plan(REVISION, changes=changes, blocked=blocked)
    text = plan_text.render(plan)
    assert "  2 resources  target edge cannot be seen: timed out\n      module  edge/x\n      module  edge/y\n" in text
    assert "Plan: nothing that can be done now; 2 blocked." in text
    assert "- 2 resources: target edge cannot be seen: timed out\n  - `edge/module/x`" in plan_markdown.render(plan)
    assert json.loads(plan_json.render(plan))["summary"]["no-op"] == 0
