"""What a service's own tests expect of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.smoke import SmokeTest, failure


@pytest.mark.parametrize(
    ("expect", "status", "body", "words"),
    [
        ({}, 200, None, ""),
        ({}, 500, None, "status 500 instead of 200"),
        ({}, 400, {"message": "no"}, 'status 400 instead of 200: {"message": "no"}'),
        ({"status": 400}, 400, None, ""),
        ({"maxSeconds": 0.5}, 200, None, "it took 1.00 s, more than 0.5 s"),
        ({"maxSeconds": 2}, 200, None, ""),
        ({"shape": [2, 1]}, 200, [[1], [2]], ""),
        ({"shape": [0]}, 200, [], ""),
        ({"shape": [1]}, 200, {"a": 1}, "has shape [] instead of [1]"),
        ({"equals": [1, {"a": 2.0}]}, 200, [1.0, {"a": 2}], ""),
        ({"equals": [1, 2]}, 200, [1], "does not equal"),
        ({"equals": {"a": 1}}, 200, {"b": 1}, "does not equal"),
        ({"equals": True}, 200, 1, "does not equal"),
        ({"equals": "x"}, 200, "x", ""),
        ({"equals": 1.0, "tolerance": 0.1}, 200, 1.05, ""),
        ({"equals": 1.0, "tolerance": 0.1}, 200, 1.5, "within 0.1"),
        ({"contains": "world"}, 200, "hello world", ""),
        ({"contains": {"a": {"b": 1}}}, 200, {"a": {"b": 1, "c": 2}, "d": 3}, ""),
        ({"contains": {"x": 1}}, 200, {"a": 1}, "does not contain"),
        ({"contains": 2}, 200, [1, 2], ""),
        ({"contains": [1, 2]}, 200, [1, 2], ""),
        ({"contains": 3}, 200, 3, ""),
        ({"contains": 3}, 200, "x" * 200, "..."),
    ],
)
def test_expectations(expect: dict[str, Any], status: int, body: Any, words: str) -> None:
    """Each expectation is met, or the message says what was expected and what came."""
    told = failure(SmokeTest("t", expect=expect), status, body, seconds=1.0)
    assert words in told
    assert bool(told) == bool(words)
