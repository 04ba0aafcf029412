"""Drift reports as text, JSON and Markdown: exact output of one with everything, and what holds for any."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.change import DriftedField, Kept, Plan
from reconciler.core.drift_report import Advice, Aside, DriftReport, FieldReport, Next, ResourceDrift
from reconciler.core.policy import DriftRule, FieldPolicy, Policy
from reconciler.core.problems import Position
from reconciler.core.resources import Completeness, Owner, ResourceId
from reconciler.core.sync import Sync
from reconciler.core.values import MISSING
from reconciler.views import drift, drift_json, drift_markdown, drift_policy
from reconciler.views.style import Style
from tests.views.plans import CANARY, REVISION, drifted, ids, secret, texts, values

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_700_000_000.0
IMAGE = ResourceId("registry/images", "image", "one")
DIABETES = ResourceId("laptop", "process", "diabetes")


def everything() -> DriftReport:
    """A report with each kind of entry."""
    fields = (
        FieldReport(
            DriftedField("/workers", 2, 4, 2),
            Next.HEAL,
            since=NOW - 7200,
            times=5,
            fight=True,
            pattern="process:/workers",
        ),
        FieldReport(
            DriftedField("/port", 8890, 8891, 8892, conflict=True),
            Next.GIT,
            since=NOW - 300,
            owner=Owner("user ann", NOW - 330),
        ),
        FieldReport(
            DriftedField("/limits/openFiles", 64, MISSING, 64, FieldPolicy.REPORT),
            Next.REPORT,
            "target laptop",
            NOW - 300,
            2,
            owner=Owner("someone", NOW - 200_000),
        ),
        FieldReport(DriftedField("/auth/keys/primary", secret("a"), secret("b"), secret("a")), Next.HEAL),
    )
    changed = ResourceDrift(
        DIABETES,
        "diabetes",
        Sync.BOTH,
        False,
        "",
        "",
        NOW - 7200,
        5,
        True,
        fields,
        Advice("services/diabetes.yaml", ("/zone", "process:/workers")),
    )
    gone = ResourceDrift(
        replace_name("iris"), "iris", Sync.DRIFTED, True, "killed by signal 9", "", NOW - 60, 4, True, ()
    )
    held = ResourceDrift(
        replace_name("wine"),
        "wine",
        Sync.DRIFTED,
        False,
        "",
        "suspended",
        NOW - 90_000,
        1,
        False,
        (FieldReport(DriftedField("/host", "::", "0.0.0.0", "::"), Next.HELD, since=NOW - 90_000),),
    )
    aside = (
        Aside(DIABETES, "diabetes", "/zone", "a", "b", FieldPolicy.IGNORE, "service"),
        Aside(DIABETES, "diabetes", "/seed", secret("a"), MISSING, FieldPolicy.CREATE_ONLY),
        Aside(DIABETES, "diabetes", "/annotation", MISSING, "theirs"),
    )
    targets = {"laptop": Completeness.COMPLETE, "edge": Completeness.PARTIAL}
    kept = (Kept(replace_name("old"), "its manifest has errors", "incomplete-load"), Kept(IMAGE, "unused", "retained"))
    return DriftReport(Plan(REVISION, targets=targets, kept=kept), Sync.BOTH, (changed, gone, held), aside)


def replace_name(name: str) -> ResourceId:
    """A resource beside the one of diabetes."""
    return DIABETES._replace(name=name)


def golden(name: str) -> str:
    """The agreed output."""
    return (GOLDEN / name).read_text()


def test_text_of_everything() -> None:
    """Each field has both values, since when, how often, by whom and what is next; a fight the lines that end it."""
    assert drift.text(everything(), NOW) == golden("drift.txt")


def test_text_of_all_there_is() -> None:
    """Differences left to others and those of nobody's fields are shown when asked for, else counted."""
    text = drift.text(everything(), NOW, everything=True)
    assert text == golden("drift_all.txt")
    assert "\x1b[" in drift.text(everything(), NOW, Style(True))


def test_markdown_of_everything() -> None:
    """A table, and the lines that end a fight."""
    assert drift_markdown.render(everything(), NOW) == golden("drift.md")


def test_json_of_everything() -> None:
    """Everything is there for programs, secrets masked."""
    text = json.dumps(drift_json.as_json(everything(), everything=True), indent=2) + "\n"
    assert text == golden("drift.json")
    assert "leftToOthers" not in drift_json.as_json(everything())


def test_no_drift_is_a_sentence() -> None:
    """Not silence, in every format."""
    nothing = DriftReport(Plan(REVISION), Sync.IN_SYNC, ())
    assert drift.text(nothing, NOW) == "No drift: everything that could be seen is as it was left.\n"
    assert (drift_json.as_json(nothing)["drifted"], drift_json.as_json(nothing)["sync"]) == (False, "in sync")
    assert "No drift" in drift_markdown.render(nothing, NOW)


def many(count: int) -> DriftReport:
    """So many drifted resources."""
    one = everything().resources[0]
    return replace(everything(), resources=tuple(replace(one, id=replace_name(f"s{n:05}")) for n in range(count)))


def test_many_drifted_resources_are_counted() -> None:
    """Twenty are shown and the rest told by its fields; `--all` shows them all."""
    text = drift.text(many(1000), NOW)
    assert text.count("laptop/s") == 20
    assert "… and 980 resources more: /workers 980, /port 980" in text
    assert drift.text(many(1000), NOW, everything=True).count("laptop/s") == 1000


@pytest.mark.parametrize("limit", [2_000, 65_000])
def test_markdown_fits_and_counts_what_it_leaves_out(limit: int) -> None:
    """A huge report stays within the limit and says how much is left out."""
    text = drift_markdown.render(many(2000), NOW, limit)
    assert len(text) <= limit
    assert "entries left out" in text


def test_the_lines_against_a_fight_are_yaml() -> None:
    """Whatever stands in a pattern, what is proposed is read back as it was meant."""
    import yaml

    patterns = ("process:/environmentVariables/A B", '/x/"y"', "/é: {[\x7f\u2028", "/models/[name=m]/version")
    read = yaml.safe_load("\n".join(drift.yaml(Advice("f", patterns))))
    assert read == {"spec": {"policy": {"drift": {"ignore": [*patterns]}}}}


def test_policies_are_shown_in_the_order_in_which_they_are_asked() -> None:
    """The first that matches decides, the default comes last, each with who says so and where."""
    rules = (
        DriftRule("/a/**", FieldPolicy.HEAL, "defaults"),
        DriftRule("/a/b", FieldPolicy.IGNORE, "service", Position("services/a.yaml", 7, 3)),
    )
    policies = {"two": Policy(), "one": Policy(drift=FieldPolicy.REPORT, rules=rules, origin="target laptop")}
    assert drift_policy.text(policies) == (
        "SERVICE  POLICY  FIELDS      SAID BY\n"
        "one      ignore  /a/b        service (services/a.yaml:7:3)\n"
        "         heal    /a/**       defaults\n"
        "         report  all others  target laptop\n"
        "two      heal    all others  built in\n"
    )
    data = drift_policy.as_json(policies)["services"]["one"]
    assert (data["default"], data["rules"][0]["position"]) == (
        {"policy": "report", "origin": "target laptop"},
        "services/a.yaml:7:3",
    )
    assert drift_policy.text({}) == "There are no services.\n"


def test_ordinals() -> None:
    """1st, 2nd, 3rd, 4th; 11th to 13th."""
    assert [drift.ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]
    )


owners = st.none() | st.builds(Owner, texts, st.none() | st.floats(0, NOW))
fields = st.builds(
    FieldReport,
    drifted,
    st.sampled_from(Next),
    texts,
    st.none() | st.floats(0, NOW),
    st.integers(1, 30),
    st.booleans(),
    owners,
    texts,
)
resources = st.builds(
    ResourceDrift,
    ids,
    texts,
    st.sampled_from(Sync),
    st.booleans(),
    texts,
    texts,
    st.none() | st.floats(0, NOW),
    st.integers(1, 30),
    st.just(False),
    st.lists(fields, max_size=3).map(tuple),
)
asides = st.builds(Aside, ids, texts, texts, values, values, st.none() | st.sampled_from(FieldPolicy), texts)
reports = st.builds(
    DriftReport,
    st.just(Plan(REVISION)),
    st.sampled_from(Sync),
    st.lists(resources, max_size=4).map(tuple),
    st.lists(asides, max_size=3).map(tuple),
)


@settings(max_examples=20, deadline=None)
@given(reports)
def test_any_report_is_rendered_without_secrets_and_control_characters(report: DriftReport) -> None:
    """The same report gives the same bytes, shows no secret, and cannot command a terminal."""
    text = drift.text(report, NOW, everything=True)
    assert text == drift.text(report, NOW, everything=True)
    assert all(line.isprintable() for line in text.split("\n"))
    whole = text + drift_markdown.render(report, NOW) + json.dumps(drift_json.as_json(report, everything=True))
    assert CANARY not in whole
