"""What differs between a saved plan and the plan of now, in words and as data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.change import Action, Blocked, Change, FieldChange, Plan, Step
from reconciler.core.resources import Baseline, Desired, ResourceId
from reconciler.core.reviewed import Reviewed, Since, since
from reconciler.core.secrets import SecretRef
from reconciler.core.values import MISSING, Unknown
from reconciler.views import plan_json
from reconciler.views.plan_difference import as_json, beside, text
from reconciler.views.style import Style
from tests.views.plans import CANARY, REVISION, changes, secret

NOTHING: Mapping[ResourceId, Baseline] = {}


def change(name: str, *fields: FieldChange, action: Action = Action.UPDATE, **more: Any) -> Change:
    """A change of one process."""
    id_ = ResourceId("laptop", "process", name)
    return Change(id_, action, "changed in Git", more.pop("service", name), fields, **more)


def plan(*changes: Change, **more: Any) -> Plan:
    """A plan of some changes."""
    return Plan(REVISION, changes, **more)


def differing(before: Plan, after: Plan) -> tuple[Since, dict[str, Any], dict[str, Any]]:
    """The difference with both documents."""
    return since(Reviewed.of(before, NOTHING), after, NOTHING), plan_json.as_json(before), plan_json.as_json(after)


def told(before: Plan, after: Plan) -> list[str]:
    """The difference in words."""
    return list(text(*differing(before, after)))


def test_fields_that_differ_are_shown_with_what_they_were() -> None:
    """A field that would be set to something else, one that came up and one that went; equal ones are not shown."""
    before = change("a", FieldChange("/workers", 1, 2), FieldChange("/port", 1, 2), FieldChange("/host", "x", "y"))
    after = change(
        "a", FieldChange("/workers", 7, 2), FieldChange("/port", 1, 2), FieldChange("/mode", MISSING, "slow")
    )
    assert told(plan(before), plan(after)) == [
        "  ~ ~ process  laptop/a  would do something else",
        "      /workers  7 → 2, was 1 → 2",
        "      /mode  (absent) → slow, was left as it is",
        "      /host  left as it is, was x → y",
    ]


def test_actions_that_came_up_or_went() -> None:
    """With why they are there, and why no more."""
    gone, new = change("a"), replace(change("b", FieldChange("/x", 1, 2), service="a"), reason="changed outside of Git")
    held = Blocked(change("c").id, "target laptop cannot be seen: timed out\nmore")
    assert told(plan(gone, change("c")), plan(replace(gone, action=Action.NOOP), new, blocked=(held,))) == [
        "  - ~ process  laptop/a  is no longer in it: nothing is to be done there any more",
        "  - ~ process  laptop/c  is no longer in it: target laptop cannot be seen: timed out",
        "  + ~ process  laptop/b  is new: changed outside of Git",
        "      /x  1 → 2",
    ]


def test_another_action_on_the_same_resource() -> None:
    """Action, steps and what comes first."""
    before = change("a", steps=(Step.STAGE, Step.TEST, Step.PROMOTE), depends_on=(change("base").id,))
    after = change("a", action=Action.REPLACE)
    assert told(plan(before), plan(after)) == [
        "  ~ ± process  laptop/a  would do something else",
        "      action  replace, was update",
        "      steps  apply, was stage, test, promote",
        "      depends on  none, was laptop/process/base",
    ]


def test_secrets_and_unknowns_are_words() -> None:
    """A secret that changes is said to; one that would come from elsewhere is not shown, but told of."""
    before = change("a", FieldChange("/digest", "x", Unknown("a/b/c", "/d")))
    after = change("a", FieldChange("/digest", "y", Unknown("a/b/c", "/d")), FieldChange("/key", MISSING, secret()))
    assert told(plan(before), plan(after))[1:] == [
        "      /digest  y → (known after apply), was x → (known after apply)",
        "      /key  (sensitive) changed, was left as it is",
    ]
    id_ = change("a").id
    one, other = (
        plan(change("a", action=Action.CREATE, desired=Desired(id_, {"key": SecretRef("env", name)}))) for name in "AB"
    )
    assert "what is created is another one" in told(one, other)[1]
    masked = (plan(change("a", action=Action.UPDATE, desired=Desired(id_, {"v": v}))) for v in (1, 2))
    assert "in what is not shown" in told(*masked)[1]


def test_the_difference_as_data() -> None:
    """Each action that differs with both sides, as they stand in plans."""
    before, after = plan(change("a", FieldChange("/x", 1, 2))), plan(change("a", FieldChange("/x", 0, 2)))
    found, saved, now = differing(before, after)
    assert as_json(found, saved, now) == [
        {"resource": "laptop/process/a", "what": "changed", "saved": saved["changes"][0], "now": now["changes"][0]}
    ]


def test_what_else_is_to_be_done_is_listed() -> None:
    """Actions beside the plan, with their reasons; many are counted."""
    others = [change(f"s{n:03}") for n in range(60)]
    found, _, now = differing(plan(change("a")), plan(change("a"), *others))
    lines = list(beside(found, now))
    assert lines[0] == "  + ~ process  laptop/s000  changed in Git"
    assert (len(lines), lines[-1]) == (51, "  … and 10 more")


@settings(max_examples=20, deadline=None)
@given(st.lists(changes, max_size=5), st.lists(changes, max_size=5))
def test_any_difference_is_told_without_secrets(before: list[Change], after: list[Change]) -> None:
    """It says something just where something differs, on printable lines, and no secret in any form."""
    one, other = plan(*before), plan(*after)
    found, saved, now = differing(one, other)
    lines = [*text(found, saved, now), *beside(found, now)]
    assert bool(list(text(found, saved, now))) is not found.same
    assert CANARY not in "\n".join(lines) + json.dumps(as_json(found, saved, now))
    assert all(line.isprintable() for line in lines)
    painted = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in text(found, saved, now, Style(True))]
    assert painted == list(text(found, saved, now))
