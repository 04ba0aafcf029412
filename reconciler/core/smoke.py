"""The tests a service declares for itself: requests a version must answer before traffic moves to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from reconciler.core.dataclass import dataclass, field
from reconciler.core.hiding import hide


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """One request that a new version must answer before traffic moves to it.

    Args:
        request: JSON body; None with `body` set sends those bytes.
        expect: JSON-like expectation, validated by the manifests: `status`, `equals`, `shape`, `contains`,
            `tolerance`, `maxSeconds` (all optional).
    """

    name: str
    request: Any = None
    body: str | None = None
    content_type: str = "application/json"
    method: str = "POST"
    path: str = "/score"
    expect: Mapping[str, Any] = field(default_factory=dict[str, Any])


def failure(test: SmokeTest, status: int, body: Any, seconds: float, secrets: Sequence[str] = ()) -> str:
    """Why an answer does not meet a test's expectation; empty if it does.

    Args:
        body: The parsed JSON body, or its text where it is no JSON.
        seconds: How long the answer took.
        secrets: Texts that stand for nobody to see in what is returned, whatever the service answers.
    """
    expect = test.expect
    wanted = expect.get("status", 200)
    if status != wanted:
        said = f": {_brief(body, secrets)}" if body else ""
        return f"status {status} instead of {wanted}{said}"
    if "maxSeconds" in expect and seconds > expect["maxSeconds"]:
        return f"it took {seconds:.2f} s, more than {expect['maxSeconds']} s"
    if "shape" in expect and _shape(body) != list(expect["shape"]):
        return f"the answer has shape {_shape(body)} instead of {list(expect['shape'])}"
    tolerance = float(expect.get("tolerance", 0.0))
    if "equals" in expect and not _close(body, expect["equals"], tolerance):
        within = f" within {tolerance:g}" if tolerance else ""
        return f"the answer {_brief(body, secrets)} does not equal {_brief(expect['equals'])}{within}"
    if "contains" in expect and not _contains(body, expect["contains"], tolerance):
        return f"the answer {_brief(body, secrets)} does not contain {_brief(expect['contains'])}"
    return ""


def _shape(value: Any) -> list[int]:
    if not isinstance(value, list):
        return []
    items = cast("list[Any]", value)
    return [len(items), *(_shape(items[0]) if items else [])]


def _close(left: Any, right: Any, tolerance: float) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left == right or abs(left - right) <= tolerance
    if isinstance(left, list) and isinstance(right, (list, tuple)):
        one, other = cast("list[Any]", left), cast("Sequence[Any]", right)
        return len(one) == len(other) and all(_close(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(left, dict) and isinstance(right, Mapping):
        a, b = cast("dict[str, Any]", left), cast("Mapping[str, Any]", right)
        return a.keys() == b.keys() and all(_close(value, b[key], tolerance) for key, value in a.items())
    return bool(left == right)


def _contains(body: Any, part: Any, tolerance: float) -> bool:
    if isinstance(body, str):
        return str(part) in body
    if isinstance(body, dict) and isinstance(part, Mapping):
        whole, wanted = cast("dict[str, Any]", body), cast("Mapping[str, Any]", part)
        return all(key in whole and _contains(whole[key], value, tolerance) for key, value in wanted.items())
    if isinstance(body, list):
        return any(_close(item, part, tolerance) for item in cast("list[Any]", body)) or _close(body, part, tolerance)
    return _close(body, part, tolerance)


def _brief(value: Any, secrets: Sequence[str] = ()) -> str:
    text = hide(json.dumps(value, default=str), secrets)
    return text if len(text) <= 120 else f"{text[:117]}..."
