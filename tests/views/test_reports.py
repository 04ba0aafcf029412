"""Status, drift, history and problems in words and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.problems import Position, Problem, Severity
from reconciler.core.report import Report, ResourceReport, ServiceReport
from reconciler.core.resources import Health, ResourceId
from reconciler.core.sync import Sync
from reconciler.views import history, problems, status
from reconciler.views.table import Cell, table, width
from reconciler.views.values import age
from tests.views.plans import CANARY, REVISION, secret

NOW = 1_700_000_000.0
PROCESS = ResourceId("laptop", "process", "diabetes")


def report() -> Report:
    """Two services, one of them in trouble."""
    diabetes = ServiceReport(
        "diabetes",
        "laptop",
        Health.DEGRADED,
        Sync.DRIFTED,
        ("diabetes-ridge:2",),
        str(REVISION),
        "exit code 1\nImportError: no module named x",
        "http://127.0.0.1:8890",
        resources=(
            ResourceReport(PROCESS, Health.DEGRADED, "exit code 1", (("key", secret()), ("pid", 7)), ("killed",)),
        ),
        drift_since=NOW - 7200,
    )
    iris = ServiceReport("iris", "laptop", Health.HEALTHY, Sync.IN_SYNC, suspended=True)
    return Report("rc-1", str(REVISION), (diabetes, iris), {"laptop": "complete", "edge": "unavailable"})


def test_status_table() -> None:
    """One line a service with its state, and targets that were not seen."""
    assert status.text(report(), NOW, {"diabetes": NOW - 90}) == (
        "SERVICE   HEALTH    SYNC            MODELS            REVISION      AGE  URL                    REASON\n"
        "diabetes  Degraded  drifted for 2h  diabetes-ridge:2  main@9c41f02  1m   http://127.0.0.1:8890  exit code 1\n"
        "iris      Healthy   suspended\n"
        "Target edge: unavailable\n"
    )


def test_status_of_nothing() -> None:
    """Without services the table says so."""
    assert status.text(Report("rc-1", "", (), {}), NOW, {}) == "There are no services.\n"


def test_details_show_the_whole_reason() -> None:
    """All lines of a reason, all resources and their events."""
    text = status.details(report().services[0], NOW)
    assert "  ImportError: no module named x\n" in text
    assert "  laptop/process/diabetes  Degraded\n      exit code 1\n      killed\n" in text


def test_status_json_masks_secrets() -> None:
    """Outputs are given, secrets among them are not."""
    text = json.dumps(status.as_json(report()))
    assert CANARY not in text
    assert '"pid": 7' in text


@dataclass(frozen=True)
class Attempt:
    """An entry as the store gives it."""

    at: float
    revision: str
    outcome: str
    data: dict[str, Any] = field(default_factory=dict[str, Any])


def test_history() -> None:
    """Each attempt has its time, revision, outcome, duration and changes or event; reasons have their first line."""
    changes = [
        {"action": "update", "id": "laptop/process/a", "state": "done"},
        {"action": "create", "id": "laptop/process/b", "state": "failed", "reason": "port taken\nby 7"},
    ]
    field_of = {"id": "laptop/process/a", "fields": ["/b"]}
    attempts = [
        Attempt(NOW, str(REVISION), "partly", {"seconds": 1.25, "by": "me@here", "changes": changes}),
        Attempt(NOW, str(REVISION), "event", {"target": "laptop", "text": "a: worker 0 exited\nTraceback"}),
        Attempt(NOW, str(REVISION), "drift", {"id": "laptop/process/a", "fields": ["/port"], "gone": False}),
        Attempt(NOW, str(REVISION), "drift", {**field_of, "policies": {"/b": "report"}}),
        Attempt(NOW, str(REVISION), "drift", {**field_of, "turn": "fight", "times": 3}),
        Attempt(NOW, str(REVISION), "recovered", {**field_of, "turn": "ended", "healed": True}),
        Attempt(NOW, str(REVISION), "recovered", {**field_of, "turn": "ended", "healed": False}),
    ]
    assert history.text(attempts) == (
        "WHEN (UTC)           REVISION      OUTCOME    TOOK   BY       CHANGES\n"
        "2023-11-14 22:13:20  main@9c41f02  partly     1.2 s  me@here  update laptop/process/a, "
        "create laptop/process/b (failed: port taken …)\n"
        "2023-11-14 22:13:20  main@9c41f02  event                      laptop: a: worker 0 exited …\n"
        "2023-11-14 22:13:20  main@9c41f02  drift                      laptop/process/a /port\n"
        "2023-11-14 22:13:20  main@9c41f02  drift                      laptop/process/a /b (reported only)\n"
        "2023-11-14 22:13:20  main@9c41f02  drift                      laptop/process/a /b: comes back again and "
        "again, 3 times so far\n"
        "2023-11-14 22:13:20  main@9c41f02  recovered                  laptop/process/a /b taken back\n"
        "2023-11-14 22:13:20  main@9c41f02  recovered                  laptop/process/a /b drifts no more\n"
    )
    assert history.as_json(attempts)["attempts"][0]["by"] == "me@here"
    assert history.text([]) == "Nothing has been applied yet.\n"


def test_problems_are_sorted_by_place() -> None:
    """Problems come in the order of files and lines, each with its hint below."""
    found = [
        Problem("b", "second", Position("a.yaml", 9, 1), severity=Severity.WARNING),
        Problem("a", "first\x1b", Position("a.yaml", 2, 3), "do this"),
    ]
    assert problems.text(found) == [
        "a.yaml:2:3: error: first\\x1b [a]",
        "    do this",
        "a.yaml:9:1: warning: second [b]",
    ]
    assert problems.count_line(found) == "1 error, 1 warning"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=5))
def test_columns_line_up(rows: list[tuple[str, str]]) -> None:
    """The second column begins at the same place in every row, wide characters counted as two."""
    lines = table(("A", "B"), [[Cell(f"{a}|"), Cell("x")] for a, _ in rows])
    assert len({width(line) for line in lines[1:]}) == 1


def test_ages() -> None:
    """A duration has its largest unit."""
    assert [age(s) for s in (-1, 59, 60, 3600, 90_000)] == ["0s", "59s", "1m", "1h", "1d"]
