"""`schema/plan.json` describes every plan as JSON, and nothing that it does not say is in one."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings

from reconciler.core.change import Plan
from reconciler.views import plan_json
from reconciler.views.plan_schema import schema
from tests.views import schemas
from tests.views.plans import REVISION, everything, plans

COMMITTED = Path(__file__).parents[2] / "schema" / "plan.json"


@pytest.fixture(scope="session")
def strict() -> jsonschema.Draft202012Validator:
    """Forbids every key that the schema does not name."""
    return schemas.strict(schema())


def test_the_committed_schema_is_fresh() -> None:
    """`make schema` renews it."""
    assert json.loads(COMMITTED.read_text()) == schema()


def test_the_schema_is_one_and_describes_every_key() -> None:
    """It is a JSON Schema of draft 2020-12, and says what each key means."""
    assert schemas.undescribed(schema()) == []


@pytest.mark.parametrize("plan", [everything(), Plan(REVISION)], ids=["everything", "nothing"])
def test_plans_are_as_the_schema_says(plan: Plan, strict: jsonschema.Draft202012Validator) -> None:
    """No key is missing, none is there that it does not name."""
    strict.validate(json.loads(plan_json.render(plan)))


def test_the_agreed_output_is_as_the_schema_says(strict: jsonschema.Draft202012Validator) -> None:
    """The golden plan is, and it has every key of every part but those that only a saved file has."""
    golden = json.loads((Path(__file__).parent / "golden" / "plan.json").read_text())
    strict.validate(golden)
    used = json.dumps(golden)
    whole = schema()
    of_files = {"saved", *whole["$defs"].pop("Saved")["properties"]}
    named = {name for part in schemas.objects(whole) for name in part["properties"]} - of_files
    assert [name for name in sorted(named) if f'"{name}"' not in used] == []


@settings(max_examples=20, deadline=None)
@given(plan=plans)
def test_any_plan_is_as_the_schema_says(plan: Plan, strict: jsonschema.Draft202012Validator) -> None:
    """Whatever is in it."""
    strict.validate(json.loads(plan_json.render(plan)))
