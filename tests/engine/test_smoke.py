"""What a service's test accepts. Sending it is tested where services run."""

from __future__ import annotations

import pytest

from reconciler.core.smoke import SmokeTest, failure


@pytest.mark.parametrize(
    ("expect", "status", "body", "reason"),
    [
        ({}, 200, [1.0], ""),
        ({}, 500, {}, "status 500 instead of 200"),
        ({"status": 400}, 400, {"message": "no"}, ""),
        ({"shape": [1]}, 200, [3.5], ""),
        ({"shape": [2, 3]}, 200, [[1, 2, 3], [4, 5, 6]], ""),
        ({"shape": [2]}, 200, [1], "shape [1] instead of [2]"),
        ({"equals": [1.0], "tolerance": 0.1}, 200, [1.05], ""),
        ({"equals": [1.0]}, 200, [1.05], "does not equal"),
        ({"equals": True}, 200, 1, "does not equal"),
        ({"contains": {"label": "cat"}}, 200, {"label": "cat", "score": 1}, ""),
        ({"contains": {"label": "cat"}}, 200, {"label": "dog"}, "does not contain"),
        ({"contains": "ok"}, 200, "all ok", ""),
        ({"contains": 2}, 200, [1, 2], ""),
        ({"maxSeconds": 1}, 200, [], "more than 1 s"),
    ],
)
def test_an_answer_is_judged(expect, status, body, reason):
    """Each expectation accepts what it should and says why it does not accept the rest."""
    found = failure(SmokeTest("t", expect=expect), status, body, 2.0)

    assert bool(found) == bool(reason)
    assert reason in found
