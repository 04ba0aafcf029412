"""`schema/drift.json` describes every drift report as JSON, and nothing that it does not say is in one."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings

from reconciler.core.drift_report import DriftReport
from reconciler.views import drift_json
from reconciler.views.drift_schema import schema
from tests.views import schemas
from tests.views.test_drift import reports

COMMITTED = Path(__file__).parents[2] / "schema" / "drift.json"


@pytest.fixture(scope="session")
def strict() -> jsonschema.Draft202012Validator:
    """Forbids every key that the schema does not name."""
    return schemas.strict(schema())


def test_the_committed_schema_is_fresh() -> None:
    """`make schema` renews it, and it says what each key means."""
    assert json.loads(COMMITTED.read_text()) == schema()
    assert schemas.undescribed(schema()) == []


def test_the_agreed_output_is_as_the_schema_says(strict: jsonschema.Draft202012Validator) -> None:
    """The golden report is, and it has every key of every part."""
    text = (Path(__file__).parent / "golden" / "drift.json").read_text()
    strict.validate(json.loads(text))
    named = {name for part in schemas.objects(schema()) for name in part["properties"]}
    assert [name for name in sorted(named) if f'"{name}"' not in text] == []


@settings(max_examples=20, deadline=None)
@given(report=reports)
def test_any_report_is_as_the_schema_says(report: DriftReport, strict: jsonschema.Draft202012Validator) -> None:
    """Whatever is in it, with what is nobody's drift and without."""
    for everything in (False, True):
        strict.validate(json.loads(json.dumps(drift_json.as_json(report, everything=everything))))
